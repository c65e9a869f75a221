"""Chinese prompts as the English that is painted."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.prompts.chinese.dictionary import (
    KINDS,
    Dictionary,
    in_chinese,
    our_words,
    read_words,
)
from webui.prompts.chinese.translate import has_chinese, translate

STARTER = (
    "dog,cat,fox,lion,unicorn,rabbit,panda,penguin,owl,frog,turtle,whale,fish,octopus,butterfly,"
    "ladybug,rose,tulip,sunflower,pine tree,tree,cactus,mushroom,red apple,banana,lemon,grapes,"
    "watermelon,strawberry,cherries,carrot,hamburger,pizza,ice cream,donut,birthday cake,"
    "cup of coffee,car,bus,steam train,airplane,rocket,ufo,sailboat,house,castle,sun,crescent moon,"
    "star,cloud,rainbow,snowman,umbrella,happy face,sad face,robot,alien,ghost,skull,"
    "jack o lantern,heart,red balloon,christmas tree,gift,trophy,soccer ball,crown,t-shirt,"
    "diamond,guitar,light bulb,key"
)


@pytest.mark.parametrize(
    ("chinese", "english"),
    [
        ("星空下的红苹果", "red apple under starry sky"),
        ("一个黄色背景上的红苹果", "a red apple on yellow background"),
        ("三只白色的小猫", "three white kittens"),
        ("穿红色裙子的女孩在花园里跳舞", "girl wearing red dress dancing in garden"),
        ("一个戴着红色帽子的女孩", "a girl wearing red hat"),
        ("蓝眼睛的猫", "cat with blue eyes"),
        ("一位白发的老人在窗边看书", "an old man with white hair reading a book by the window"),
        ("桌子上有两个苹果和一只猫", "two apples and a cat on table"),
        ("一只黑色的小猫坐在红色的椅子上", "a black kitten sitting on red chair"),
        ("女孩站在樱花树下，阳光", "girl standing under cherry blossom tree, sunlight"),
        ("女孩 樱花 夕阳", "girl, cherry blossoms, setting sun"),
        ("（红苹果：1.2），杰作", "(red apple:1.2), masterpiece"),
        ("猫<lora:国风:0.8>", "cat <lora:国风:0.8>"),
        ("<b>塔</b>", "<b>tower</b>"),
        ("日落时的城堡", "castle during sunset"),
        ("一只猫{在雪地里|在沙滩上}, __动物__", "a cat{in snow|on beach}, __动物__"),
        ("masterpiece, 一只狗, (best:1.1)", "masterpiece, a dog, (best:1.1)"),
        (r"猫 \(动物\)", r"cat \(animal\)"),
    ],
)
def test_prompt_when_chinese_becomes_english(chinese: str, english: str) -> None:
    assert translate(chinese, our_words()).text == english


@pytest.mark.parametrize(
    "text", ["", "a  cat , <lora:国风:1>", "__动物__", "猫のいる夜", "(a:1.2)  "]
)
def test_prompt_when_without_chinese_comes_back_untouched(text: str) -> None:
    assert not has_chinese(text) and translate(text, our_words()).text == text


def test_what_is_not_wanted_leaves_the_prompt_and_names_stay_whole() -> None:
    told = translate("没有云的蓝天，不要水印，小明在海边", our_words())
    assert told.text == "blue sky, 小明 at seaside"
    assert told.unwanted == ("cloud", "watermark") and told.unknown == ("小明",)


def test_our_list_holds_what_the_starter_paints_and_only_known_kinds() -> None:
    words = our_words()
    assert len(words) > 1500 and {word.kind for word in words.values()} <= KINDS
    assert set(STARTER.split(",")) - {word.text for word in words.values()} == set()
    assert in_chinese(["pizza", "at the top", "star"], words) == ["披萨", "at the top", "星星"]
    for chinese, word in words.items():
        assert not has_chinese(word.text) or chinese == "的", chinese


def test_dropped_in_list_when_changed_is_read_anew_and_wins(tmp_path: Path) -> None:
    dictionary = Dictionary(tmp_path / "chinese")
    assert translate("小明和猫", dictionary.words()).text == "小明 and cat"
    (tmp_path / "chinese").mkdir()
    file = tmp_path / "chinese" / "mine.csv"
    file.write_text("小明,xiaoming person\n猫,kitty,n\n坏,bad,?\n", "utf-8-sig")
    assert translate("小明和猫", dictionary.words()).text == "xiaoming person and kitty"
    file.write_bytes("小明,boy next door".encode("gb18030"))
    assert "小明" in dictionary.words() or dictionary.words()["猫"].text == "cat"
    assert read_words("空\n,x\n") == {}


def test_long_text_is_translated_in_time_that_grows_with_it() -> None:
    told = translate("星空下的红苹果，龘" * 5000, our_words())
    assert told.text.count("red apple") == 5000 and told.unknown == ("龘",)
