from __future__ import annotations

import pytest

from webui.errors import ParamsError, PromptSyntaxError
from webui.prompts.attention import weigh
from webui.prompts.chunks import EmbeddingTable, PromptChunks, chunk_prompt, count_tokens
from webui.prompts.read import read_prompt
from webui.prompts.tokenizer import ClipTokenizer

CAT, DOG, COMMA, START, END = 2368, 1929, 267, 49406, 49407


def chunks_of(text: str, tokenizer: ClipTokenizer, **how: object) -> PromptChunks:
    return chunk_prompt(weigh(text, "Original"), tokenizer, **how)  # type: ignore[arg-type]


def lengths(chunks: PromptChunks) -> list[int]:
    """Tokens of text in each chunk."""
    return [chunk.tokens[1:].index(END) for chunk in chunks]


def test_chunk_of_short_text_is_padded_to_77(tokenizer: ClipTokenizer) -> None:
    (chunk,) = chunks_of("cat (dog:1.5)", tokenizer)
    assert chunk.tokens == [START, CAT, DOG, *[END] * 74]
    assert chunk.weights == [1.0, 1.0, 1.5, *[1.0] * 74]
    assert chunk.embeddings == []


def test_chunks_of_empty_text_is_one_empty_chunk(tokenizer: ClipTokenizer) -> None:
    chunks = chunks_of("", tokenizer)
    assert [chunk.tokens for chunk in chunks] == [[START, *[END] * 76]]
    assert chunks.token_count == 0 and chunks.capacity == 75


def test_chunks_all_have_77_tokens_and_weights(tokenizer: ClipTokenizer) -> None:
    chunks = chunks_of("cat, " * 200 + "BREAK (dog:0.5) " * 3, tokenizer)
    assert {(len(c.tokens), len(c.weights)) for c in chunks} == {(77, 77)}


def test_chunk_when_full_is_cut_after_a_near_comma(tokenizer: ClipTokenizer) -> None:
    chunks = chunks_of("cat " * 60 + "," + " dog" * 20, tokenizer)
    assert lengths(chunks) == [61, 20]
    assert chunks[0].tokens[61] == COMMA
    assert set(chunks[1].tokens[1:21]) == {DOG}
    assert chunks.token_count == 95 and chunks.capacity == 150


@pytest.mark.parametrize(
    "cats, backtrack, expected",
    [
        (55, 20, [56, 25]),  # 75 - 55 = 20: just near enough
        (54, 20, [75, 5]),
        (55, 19, [75, 6]),
        (74, 1, [75, 25]),  # the comma is last: nothing moves
        (60, 0, [75, 11]),
    ],
)
def test_chunk_when_comma_is_too_far_is_cut_anywhere(
    tokenizer: ClipTokenizer, cats: int, backtrack: int, expected: list[int]
) -> None:
    chunks = chunks_of("cat " * cats + "," + " dog" * 25, tokenizer, comma_backtrack=backtrack)
    assert lengths(chunks) == expected


def test_comma_that_finds_the_chunk_full_starts_the_next_and_is_forgotten(
    tokenizer: ClipTokenizer,
) -> None:
    chunks = chunks_of("cat " * 75 + "," + " dog" * 80, tokenizer, comma_backtrack=75)
    assert lengths(chunks) == [75, 75, 6]
    assert chunks[1].tokens[1] == COMMA


def test_break_closes_even_an_empty_chunk(tokenizer: ClipTokenizer) -> None:
    chunks = chunks_of("BREAK cat", tokenizer)
    assert lengths(chunks) == [0, 1]
    assert chunks.token_count == 76
    assert lengths(chunks_of("cat BREAK", tokenizer)) == [1]


def test_weighted_break_is_the_word(tokenizer: ClipTokenizer) -> None:
    assert lengths(chunks_of("(cat BREAK dog:1.3)", tokenizer)) == [3]


def test_embedding_takes_its_places_with_the_weight(tokenizer: ClipTokenizer) -> None:
    table = EmbeddingTable({"Dog": 3}, tokenizer)
    (chunk,) = chunks_of("cat (dog:1.4) cat", tokenizer, embeddings=table)
    assert chunk.tokens[:7] == [START, CAT, 0, 0, 0, CAT, END]
    assert chunk.weights[:7] == [1.0, 1.0, 1.4, 1.4, 1.4, 1.0, 1.0]
    assert chunk.embeddings == [(2, "Dog")]


def test_embedding_with_the_longest_name_wins(tokenizer: ClipTokenizer) -> None:
    table = EmbeddingTable({"cat": 1, "cat dog": 2}, tokenizer)
    chunks = chunks_of("cat dog cat", tokenizer, embeddings=table)
    assert chunks[0].embeddings == [(1, "cat dog"), (3, "cat")]
    assert chunks.embedding_names == ["cat dog", "cat"]


def test_embedding_that_does_not_fit_starts_a_chunk(tokenizer: ClipTokenizer) -> None:
    table = EmbeddingTable({"dog": 10}, tokenizer)
    chunks = chunks_of("cat " * 70 + "dog", tokenizer, embeddings=table)
    assert lengths(chunks) == [70, 10]
    assert chunks[1].embeddings == [(1, "dog")]


def test_embedding_behind_the_comma_moves_with_its_tokens(tokenizer: ClipTokenizer) -> None:
    table = EmbeddingTable({"dog": 4}, tokenizer)
    text = "cat " * 69 + ", dog" + " cat" * 10
    chunks = chunks_of(text, tokenizer, embeddings=table)
    assert lengths(chunks) == [70, 14]
    assert [chunk.embeddings for chunk in chunks] == [[], [(1, "dog")]]
    assert chunks[1].tokens[1:6] == [0, 0, 0, 0, CAT]


def test_embedding_larger_than_a_chunk_is_refused(tokenizer: ClipTokenizer) -> None:
    with pytest.raises(PromptSyntaxError, match="76 vectors"):
        chunks_of("dog", tokenizer, embeddings=EmbeddingTable({"dog": 76}, tokenizer))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", (0, 75)),
        ("cat " * 75, (75, 75)),
        ("cat " * 76, (76, 150)),
        ("[cat:dog cat dog:5]", (3, 75)),
        ("cat AND dog dog", (2, 75)),
        ("cat <lora:dog dog dog:1>", (1, 75)),
        ("cat # dog dog", (1, 75)),
    ],
)
def test_count_tokens_counts_the_longest_text(
    tokenizer: ClipTokenizer, text: str, expected: tuple[int, int]
) -> None:
    assert count_tokens(text, tokenizer) == expected


def test_count_tokens_of_negative_prompt_reads_and_as_a_word(tokenizer: ClipTokenizer) -> None:
    assert count_tokens("cat AND dog", tokenizer, is_positive=False) == (3, 75)


# The whole language


def test_read_prompt_gives_weighted_schedules_and_networks() -> None:
    read = read_prompt("a:0.5 AND [b:c:3] <lora:ink:0.7>", "x AND [y:z:2]", steps=5)
    assert [(part.weight, part.schedule) for part in read.positive] == [
        (0.5, [(5, "a")]),
        (1.0, [(3, " b"), (5, " c")]),
    ]
    assert read.negative == [(2, "x AND y"), (5, "x AND z")]
    assert [network.name for network in read.networks] == ["ink"]
    assert read.texts == ["a", " b", " c", "x AND y", "x AND z"]


def test_read_prompt_of_hires_pass_counts_from_its_start() -> None:
    read = read_prompt("[a:b:1.5]", steps=20, hires_steps=10)
    assert read.positive[0].schedule == [(5, "a"), (10, "b")]
    old = read_prompt("[a:b:0.5]", steps=20, hires_steps=10, old_timelines=True)
    assert old.positive[0].schedule == [(10, "a"), (20, "b")]


def test_read_prompt_pieces_follow_the_emphasis_mode() -> None:
    assert read_prompt("", steps=1, emphasis="None").pieces("(a:2)") == [("(a:2)", 1.0)]
    assert read_prompt("", steps=1).pieces("(a:2)") == [("a", 2.0)]


def test_read_prompt_when_emphasis_is_unknown_lists_the_modes() -> None:
    with pytest.raises(ParamsError, match="No norm"):
        read_prompt("a", steps=1, emphasis="loud")
