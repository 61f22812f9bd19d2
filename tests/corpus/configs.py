"""Config files."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.case import Case, bad, good, hostile, written


def _json(values: Any) -> Any:
    return written(json.dumps(values), "config.json")


def _text(content: str | bytes) -> Any:
    return written(content, "config.json")


def _attack(**values: Any) -> Any:
    return _json({"evaluate": {"attacks": {"pgd": {"attack": "pgd", **values}}}})


_DEEP: dict[str, Any] = {}
for _ in range(200):
    _DEEP = {"train": _DEEP}

CASES: tuple[Case, ...] = (
    good("nothing set", _text("{}")),
    good("blanks and line breaks", _text(' \n{ "seed"\t:\r\n 1 }\n')),
    good("escapes", _text('{"descri\\u0070tion": "\\ud83d\\ude00 \\u0000"}')),
    good("markup in a text", _json({"description": "<script>alert(1)</script>"})),
    bad("empty", _text(""), "is not valid JSON"),
    bad("a comma too many", _text('{"seed": 1,}'), "is not valid JSON: .*line 1 column"),
    bad("a comment", _text('{"seed": 1} // one'), "is not valid JSON"),
    bad("two objects", _text("{}{}"), "is not valid JSON"),
    bad("cut", _text('{"train": {"epochs": 1'), "is not valid JSON"),
    bad("single quotes", _text("{'seed': 1}"), "is not valid JSON"),
    bad("YAML", _text("seed: 1\n"), "is not valid JSON"),
    bad("UTF-16", _text('{"seed": 1}'.encode("utf-16")), "is not valid JSON"),
    bad("byte order mark", _text(b'\xef\xbb\xbf{"seed": 1}'), "is not valid JSON"),
    bad("a list", _text("[1, 2]"), "must hold a JSON object, but holds a list"),
    bad("null", _text("null"), "must hold a JSON object, but holds a NoneType"),
    bad("an unknown key", _json({"trian": {}}), "trian: there is no such key. Did you mean 'train'"),
    bad("a key twice", _text('{"train": {"epochs": 2, "epochs": 4}}'), "the key 'epochs' stands twice in one object"),
    bad("text for a number", _json({"train": {"epochs": "many"}}), "train.epochs: Input should be a valid integer"),
    bad("true for a number", _json({"train": {"epochs": True}}), "train.epochs: true and false are no value here"),
    bad("a fraction", _json({"train": {"epochs": 1.5}}), "train.epochs: Input should be a valid integer"),
    bad("a number for an object", _json({"train": 3}), "train: Input should be a valid dictionary"),
    bad("null for an object", _json({"train": None}), "train: Input should be a valid dictionary"),
    bad("a list for an object", _json({"evaluate": []}), "evaluate: Input should be a valid dictionary"),
    bad("NaN", _text('{"evaluate": {"epsilons": [NaN]}}'), "evaluate.epsilons.0: "),
    bad("Infinity", _text('{"evaluate": {"epsilons": [Infinity]}}'), "evaluate.epsilons.0: "),
    bad("infinity for a rate", _text('{"train": {"learning_rate": Infinity}}'), "train.learning_rate: "),
    bad("NaN for a fraction", _text('{"ingest": {"max_bad_fraction": NaN}}'), "ingest.max_bad_fraction: "),
    bad("1e999", _text('{"train": {"learning_rate": 1e999}}'), "train.learning_rate: "),
    bad("a huge number", _json({"seed": 10**30}), "seed: "),
    bad("below 0", _json({"seed": -1}), "seed: Input should be greater than or equal to 0"),
    bad("an empty root", _json({"root": ""}), "root: String should have at least 1 character"),
    hostile("NUL in a root", _json({"root": "output\0"}), "root: a path cannot hold the character NUL"),
    hostile("5,000 digits", _text('{"seed": 1' + "0" * 5000 + "}"), "a number cannot be read"),
    hostile("nested 100,000 times", _text('{"seed":' + "[" * 100_000 + "]" * 100_000 + "}"), "nested too deeply"),
    hostile("nested objects", _json(_DEEP), "train.train: there is no such key"),
    hostile("an attack's name leads outside", _json({"evaluate": {"attacks": {"../../x": "pgd"}}}), "attacks"),
    hostile("an attack's name is a path", _json({"evaluate": {"attacks": {"/tmp/x": "pgd"}}}), "attacks"),
    hostile("an attack's name is empty", _json({"evaluate": {"attacks": {"": "pgd"}}}), "attacks"),
    hostile("a defence's name leads outside", _json({"defences": {"../../x": {"objective": "fast"}}}), "defences"),
    hostile("a model's name leads outside", _json({"augment": {"models": {"../x": ["pgd"]}}}), "augment.models"),
    hostile("a module for an attack", _attack(attack="os:system"), "there is no attack 'os:system'"),
    hostile("a module for a network", _json({"train": {"network": "os:system"}}), "there is no network 'os:system'"),
    hostile("a runner that loses data", _json({"beam": {"runner": "DaskRunner"}}), "DaskRunner is refused"),
    bad(
        "workers that are waited for without end",
        _json({"beam": {"options": ["--direct_running_mode=multi_processing"]}}),
        "beam.options: direct_running_mode=multi_processing is refused",
    ),
    hostile("20,000 unknown keys", _json({f"k{index}": 1 for index in range(20_000)}), "there is no such key"),
)
