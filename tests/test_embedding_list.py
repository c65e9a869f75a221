"""The list of embeddings travels only when the model process does not know it."""

from __future__ import annotations

from webui.services.embedding_list import EmbeddingList

ONE, TWO = [{"name": "candy"}], [{"name": "candy"}, {"name": "sky"}]


def test_list_when_a_job_that_carried_it_has_begun_is_carried_no_more() -> None:
    listed = EmbeddingList()
    assert listed.for_job(1, ONE) == ONE
    listed.job_began(1)
    assert listed.for_job(2, ONE) is None


def test_list_when_it_has_changed_is_carried_again() -> None:
    listed = EmbeddingList()
    listed.for_job(1, ONE)
    listed.job_began(1)
    assert listed.for_job(2, TWO) == TWO
    listed.job_began(2)
    assert listed.for_job(3, ONE) == ONE


def test_list_when_its_job_never_began_is_carried_again() -> None:
    listed = EmbeddingList()
    listed.for_job(1, ONE)
    listed.job_began(7)
    assert listed.for_job(2, ONE) == ONE


def test_list_when_the_model_process_is_a_new_one_is_carried_again() -> None:
    listed = EmbeddingList()
    listed.for_job(1, ONE)
    listed.job_began(1)
    listed.process_began()
    assert listed.for_job(2, ONE) == ONE
