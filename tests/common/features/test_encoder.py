"""Text models: any object that makes vectors, and sentence-transformers from a folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.catalogue import Catalogue
from common.errors import Code, ConfigError, DataError
from common.features.base import ItemEncoder
from common.features.encoder import SentenceModel, TextEncoder
from tests.common.features.encoders import CATALOGUE, EncoderSuite

INSTALLED = find_spec("sentence_transformers") is not None


class Lengths:
    """A text model of two numbers."""

    def vectors(self, texts: Sequence[str]) -> NDArray[Any]:
        return np.array([[len(text), text.count("o") + 1] for text in texts], dtype=np.float64)


class TestText(EncoderSuite):
    def encoder(self) -> ItemEncoder:
        return TextEncoder(Lengths())


def test_columns_are_joined_in_their_order() -> None:
    seen: list[str] = []

    class Listening(Lengths):
        def vectors(self, texts: Sequence[str]) -> NDArray[Any]:
            seen.extend(texts)
            return super().vectors(texts)

    TextEncoder(Listening(), ("category", "nowhere", "title")).encode(CATALOGUE)
    assert seen[1] == "Adventure|Children's. Jumanji (1995)"
    assert len(seen) == 3


@pytest.mark.parametrize("catalogue", [Catalogue(("a",)), Catalogue(("a",), {"title": ("",)})])
def test_items_without_any_text_are_refused(catalogue: Catalogue) -> None:
    with pytest.raises(DataError) as caught:
        TextEncoder(Lengths()).encode(catalogue)
    assert caught.value.code is Code.CATALOGUE_INVALID


def test_a_model_that_loses_a_text_is_refused() -> None:
    class Short(Lengths):
        def vectors(self, texts: Sequence[str]) -> NDArray[Any]:
            return super().vectors(texts)[1:]

    with pytest.raises(DataError) as caught:
        TextEncoder(Short()).encode(CATALOGUE)
    assert caught.value.code is Code.DATA_FORMAT


@pytest.mark.skipif(INSTALLED, reason="the extra is installed")
def test_without_the_package_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SentenceModel.load(tmp_path)
    assert caught.value.code is Code.CONFIG_INVALID
    assert "hushrec[text]" in str(caught.value)


@pytest.mark.skipif(not INSTALLED, reason="the extra is not installed")
def test_a_model_is_loaded_from_its_folder_alone(tmp_path: Path) -> None:
    """A small model with random weights, saved as sentence-transformers saves them."""
    folder = _random_model(tmp_path)
    found = [TextEncoder(SentenceModel.load(folder)).encode(CATALOGUE) for _ in range(2)]
    np.testing.assert_array_equal(found[0].values, found[1].values)
    assert found[0].missing == ("3",)
    assert found[0].width == 16


@pytest.mark.skipif(not INSTALLED, reason="the extra is not installed")
@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_Dense/model.pt"])
def test_weights_that_would_be_unpickled_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        SentenceModel.load(tmp_path)
    assert caught.value.code is Code.DATA_FORMAT
    assert Path(name).name in str(caught.value)


@pytest.mark.skipif(not INSTALLED, reason="the extra is not installed")
def test_folders_without_a_model_are_refused(tmp_path: Path) -> None:
    for folder, code in ((tmp_path, Code.DATA_FORMAT), (tmp_path / "none", Code.DATA_NOT_FOUND)):
        with pytest.raises(DataError) as caught:
            SentenceModel.load(folder)
        assert caught.value.code is code


def _random_model(folder: Path) -> Path:
    import sentence_transformers as package
    import transformers
    from sentence_transformers.sentence_transformer import modules

    letters = [chr(code) for code in range(97, 123)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=len(words), intermediate_size=16, **shape)
    transformers.BertModel(config).save_pretrained(folder / "bert")
    bert = modules.Transformer(str(folder / "bert"))
    model = package.SentenceTransformer(modules=[bert, modules.Pooling(16)], device="cpu")
    model.save(str(folder / "saved"))
    return folder / "saved"
