"""A tiny language model and a tiny classifier, saved as transformers saves them; a text and a study on them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import save_llama

WORDS = (
    *("the", "a", "cat", "dog", "sees", "likes", "hates", "red", "blue", "old"),
    *("new", "house", "tree", "and", "or", "not", "very", "big", "small", "runs"),
)

FILE = """
name = "tiny"
seeds = [1, 2]
rises = [0.1]

[language]
model = "MODEL"
samples = 4
max_tokens = 24
source = { name = "file", path = "TEXT", rating = "rating", most = 0 }
target = { name = "file", path = "TEXT", rating = "rating", least = 1 }
prompts = { name = "file", path = "TEXT", rating = "rating", most = 0, count = 5, words = 2 }
neutral = { name = "topics", count = 3 }
scorer = { name = "JUDGE", label = "LABEL_1", measure = "mean" }

[language.decoding]
max_new_tokens = 4
repeats = 2

[[methods]]
method = "mean-act"
strengths = [0.5, 1.0]

[[methods]]
name = "ours"
steps = 3
sparsities = [0.0, 0.5]
strengths = [1.0]
"""


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``lm``, ``judge`` and ``text.csv``."""
    transformers = pytest.importorskip("transformers", reason="pip install 'evonas[lm]'")
    folder = tmp_path_factory.mktemp("models")
    save_llama(folder / "lm")
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder / "lm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=2,
        )
        transformers.BertForSequenceClassification(config).save_pretrained(folder / "judge")
    tokenizer.save_pretrained(folder / "judge")
    rows = [(" ".join(WORDS[(k * j + k) % len(WORDS)] for j in range(1, 5)), k % 2) for k in range(40)]
    (folder / "text.csv").write_text("text,rating\n" + "".join(f"{text},{rating}\n" for text, rating in rows))
    return folder


@pytest.fixture
def file(models: Path, tmp_path: Path) -> Path:
    """The study file."""
    changes = {"MODEL": models / "lm", "TEXT": models / "text.csv", "JUDGE": models / "judge"}
    text = FILE
    for word, place in changes.items():
        text = text.replace(word, str(place))
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path
