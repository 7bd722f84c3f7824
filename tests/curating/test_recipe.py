# SPDX-License-Identifier: Apache-2.0
"""A recipe is read strictly: a wrong key or value is refused with its file, its path and what is allowed."""

import pytest

from budgetforce.curating.recipe import bundled_recipes, load_recipe
from budgetforce.errors import ConfigError
from curating.recipe_files import FROM_FILE, PUZZLES, write_recipe

SOURCE = 'kind = "generator"\nname = "chain"\nnum_questions = 12'


@pytest.mark.parametrize("name", bundled_recipes())
def test_bundled_recipes_are_valid(name):
    loaded = load_recipe(name)
    assert loaded.recipe.name
    assert loaded.recipe.collect.sources


def test_the_bundled_recipes_are_those_that_users_know():
    assert bundled_recipes() == ["diverse", "full", "longest", "random", "s1k", "s1k-paper", "tiny", "tiny-ci"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 7", "sead = 7", "sead: unknown key, allowed: name, tokenizer, "),
        ("seed = 7", "seed = 7.5", "seed: got 7.5, allowed: an integer"),
        ("seed = 7", "seed = true", "seed: got true, allowed: an integer"),
        ('name = "puzzles"', "", "name: missing"),
        ('name = "puzzles"', 'name = " "', 'recipe.toml: name: got " ", allowed: text'),
        ('name = "puzzles"', "name =", "not TOML"),
        (SOURCE, SOURCE.replace("num_", "number_of_"), "collect.sources[0].number_of_questions: unknown key, allowed: kind, name"),
        (SOURCE, SOURCE.replace("generator", "robot"), "collect.sources[0].kind: got \"robot\", allowed: 'file', 'hub', 'generator'"),
        (SOURCE, SOURCE.replace('kind = "generator"', ""), "collect.sources[0].kind: missing, allowed: 'file', 'hub', 'generator'"),
        (SOURCE, SOURCE.replace("chain", "chains"), '[collect.sources[0]] name: got "chains", allowed: letters, chain, sums'),
        (SOURCE, SOURCE.replace("12", "0"), "[collect.sources[0]] num_questions: got 0, allowed: an integer from 1 to 500000"),
        (SOURCE, 'kind = "hub"\nrepo = "a/b"\nrevision = "main"', '] revision: got "main", allowed: a full commit of 40 hex digits'),
        (SOURCE, 'kind = "file"\npath = "a.csv"', "a file that ends in .jsonl or .parquet"),
        (SOURCE, 'kind = "file"\npath = "a.jsonl"\ncolumns = {q = "x"}', '] columns: got "q", allowed: question, solution'),
        (SOURCE, 'kind = "file"\npath = "a.jsonl"\ngrading = "luck"', '] grading: got "luck", allowed: '),
        ('"rules"', '"oracle"', "trace.teacher: got \"oracle\", allowed: 'rules', 'columns', 'openai', 's1'"),
        ('"rules"', '["rules"]', "trace.teacher: got [\"rules\"], allowed: 'rules', 'columns', 'openai', 's1'"),
        ('"rules"', '"openai"\nmodel = "m"\nurl = "http://x"\npause_s = inf', "trace.pause_s: got Infinity, allowed: a finite number"),
        (
            '"rules"',
            '"openai"\nmodel = "m"\nurl = "http://x"\nbody = {a = [2024-01-01]}',
            'trace.body.a[0]: got "2024-01-01", allowed: a text',
        ),
        ('"rules"', '"openai"\nmodel = "m"\nurl = "ftp://x"', '[trace] url: got "ftp://x", allowed: http://HOST… or https://HOST…'),
        ('"rules"', '"rules"\n[features]\ndomain = "guess"', "features.domain: got \"guess\", allowed: 'given', 'tfidf', 'llm'"),
        ('"rules"', '"rules"\n[grade]\non_wrong = "fix"', "grade.on_wrong: got \"fix\", allowed: 'keep', 'drop'"),
        ('"rules"', '"rules"\n[features]\nweak = ["a"]', 'features.weak: got ["a"], allowed: a table'),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_path(tmp_path, old, new, message):
    assert old in PUZZLES
    path = write_recipe(tmp_path, PUZZLES.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_recipe_that_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--recipe: got 'larger', allowed: diverse, full"):
        load_recipe("larger")
    with pytest.raises(ConfigError, match="missing.toml: cannot be read: No such file"):
        load_recipe(str(tmp_path / "missing.toml"))


def test_paths_are_relative_to_the_recipe(tmp_path):
    loaded = load_recipe(str(write_recipe(tmp_path, FROM_FILE)))
    assert loaded.recipe.collect.sources[0].path == tmp_path / "questions.jsonl"


def test_a_recipe_changes_the_tables_of_its_base(tmp_path):
    path = write_recipe(tmp_path, 'base = "s1k"\nname = "mine"\n[select]\ntarget = 10\n')
    recipe, base = load_recipe(str(path)).recipe, load_recipe("s1k").recipe
    assert (recipe.name, recipe.select.target) == ("mine", 10)
    assert recipe.select.weak_models == base.select.weak_models
    assert recipe.features == base.features


def test_recipes_based_on_each_other_are_refused(tmp_path):
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.toml").write_text(f'base = "{base}.toml"\n')
    with pytest.raises(ConfigError, match="base: got 'a.toml', allowed: a recipe that is not based on this one"):
        load_recipe(str(tmp_path / "a.toml"))


def test_comments_and_the_order_of_keys_change_no_digest(tmp_path):
    first = load_recipe(str(write_recipe(tmp_path))).sha256
    turned = PUZZLES.replace('name = "puzzles"\nseed = 7', '# seven\nseed = 7\nname = "puzzles"')
    assert turned != PUZZLES
    assert load_recipe(str(write_recipe(tmp_path, turned))).sha256 == first
    assert load_recipe(str(write_recipe(tmp_path, PUZZLES.replace("seed = 7", "seed = 8")))).sha256 != first
