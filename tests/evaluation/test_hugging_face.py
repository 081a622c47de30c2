"""What leaves computes the same in `transformers`' own classes, and reads text as the same ids."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from stepladder.cli import app
from stepladder.data import manifest as manifests
from stepladder.data.decode import tokenizer_of
from stepladder.data.prepare import prepare
from stepladder.evaluation.hugging_face.classes import NoSuchClass, published
from stepladder.evaluation.hugging_face.reading import read_model
from stepladder.evaluation.hugging_face.tokenizer import files as tokenizer_files
from stepladder.evaluation.hugging_face.writing import export_run, write_model
from stepladder.evaluation.weights import read_weights
from stepladder.models.transformer import Transformer
from stepladder.record.spec import ModelSpec, RunSpec
from stepladder.training.run import train

VOCABULARY = 60
END = VOCABULARY - 1

NO_NORM = {"qk_norm": False}
SHAPES: dict[str, tuple[str, str, dict, dict]] = {
    "dense": ("Qwen3ForCausalLM", "dense", {}, {}),
    "dense, tied": ("Qwen3ForCausalLM", "dense", {}, {"tied_embeddings": True}),
    "dense, heads wider than the model": ("Qwen3ForCausalLM", "dense", {}, {"d_head": 10}),
    "dense, as many keys": ("Qwen3ForCausalLM", "dense", {}, {"n_kv_heads": 4}),
    "dense, no norm": ("LlamaForCausalLM", "dense", {}, NO_NORM),
    "dense, no norm, tied": ("LlamaForCausalLM", "dense", {}, NO_NORM | {"tied_embeddings": True}),
    "dense, no norm, narrow heads": ("LlamaForCausalLM", "dense", {}, NO_NORM | {"d_head": 6}),
    "dense, no norm, odd heads": ("MistralForCausalLM", "dense", {}, NO_NORM | {"n_heads": 6}),
    "dense, another theta": ("Qwen3ForCausalLM", "dense", {}, {"rope_theta": 500.0}),
    "sliding": ("Qwen3ForCausalLM", "sliding", {}, {}),
    "sliding, left over": ("Qwen3ForCausalLM", "sliding", {"local_per_global": 5, "window": 2}, {}),
    "sliding, no norm": ("MinistralForCausalLM", "sliding", {}, NO_NORM),
    "moe": ("Qwen3MoeForCausalLM", "moe", {}, {}),
    "moe, tied": ("Qwen3MoeForCausalLM", "moe", {}, {"tied_embeddings": True}),
    "moe, every second": ("Qwen3MoeForCausalLM", "moe", {"every": 2}, {}),
    "moe, one of them": ("Qwen3MoeForCausalLM", "moe", {"top_k": 1}, {}),
    "moe, shared": ("Qwen3NextForCausalLM", "moe", {"n_shared_experts": 2}, {}),
    "moe, one and shared": (
        "Qwen3NextForCausalLM",
        "moe",
        {"top_k": 1, "n_shared_experts": 1, "every": 2},
        {"n_kv_heads": 4},
    ),
    "moe, no norm": ("MixtralForCausalLM", "moe", {}, NO_NORM),
    "moe, no norm, every second": ("Ernie4_5_MoeForCausalLM", "moe", {"every": 2}, NO_NORM),
    "moe, no norm, shared": ("Ernie4_5_MoeForCausalLM", "moe", {"n_shared_experts": 2}, NO_NORM),
    "moe, no norm, bias": ("Ernie4_5_MoeForCausalLM", "moe", {"bias_rate": 0.1}, NO_NORM),
    "moe, no norm, one of them": ("Qwen2MoeForCausalLM", "moe", {"top_k": 1}, NO_NORM),
    "moe, no norm, one and shared": (
        "Qwen2MoeForCausalLM",
        "moe",
        {"top_k": 1, "n_shared_experts": 2, "every": 2},
        NO_NORM,
    ),
}
"""The class that is chosen, and of which model."""


@pytest.fixture(scope="module")
def model_of(make_model) -> Callable[[str], Transformer]:
    """A model of one of the shapes, without any zeros."""

    def make(shape: str) -> Transformer:
        _, architecture, options, changes = SHAPES[shape]
        return filled(make_model(architecture, options, **(SIZE | changes)))

    return make


SIZE = {
    "n_layers": 3,
    "d_model": 32,
    "d_head": 8,
    "d_ff": 24,
    "vocab_size": VOCABULARY,
    "sequence_length": 24,
}


def filled(spec: ModelSpec) -> Transformer:
    model = Transformer(spec, seed=0).requires_grad_(False)
    draw = torch.Generator().manual_seed(1)
    for name, weight in model.state_dict().items():
        if "gain" in name:
            weight.uniform_(0.5, 1.5, generator=draw)
        elif name.endswith((".out", ".down", ".bias")):  # which begin at zero
            weight.normal_(0, 0.2, generator=draw)
    return model


def spec_of(make_model, shape: str) -> ModelSpec:
    _, architecture, options, changes = SHAPES[shape]
    return make_model(architecture, options, **(SIZE | changes))


def logits(model: Transformer, tokens_BT: Tensor) -> Tensor:
    with torch.no_grad():
        return model(F.embedding(tokens_BT, model.embedding))[0]


def continued(model: Transformer, tokens_T: Tensor, more: int, end: int | None = None) -> Tensor:
    """With the likeliest token after each, to `end` if it comes."""
    for _ in range(more):
        following = logits(model, tokens_T[None])[0, -1].argmax()
        tokens_T = torch.cat((tokens_T, following[None]))
        if following == end:
            break
    return tokens_T


def load(folder: Path):
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(told.values()), told
    return model


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_and_generation_are_equal(make_model, model_of, tmp_path, shape):
    """The class is the one that config.json names, every weight is read, and nothing is left to chance."""
    model, spec = model_of(shape), spec_of(make_model, shape)
    write_model(tmp_path, spec, model.state_dict(), END, "float32")
    theirs = load(tmp_path)
    assert type(theirs).__name__ == SHAPES[shape][0] == published(spec).name
    tokens_BT = torch.randint(0, VOCABULARY, (4, 24), generator=torch.Generator().manual_seed(2))
    ours_BTV = logits(model, tokens_BT)
    assert ours_BTV.std() > 0.5
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens_BT).logits, ours_BTV, rtol=0, atol=1e-5)
    found = theirs.generate(tokens_BT[:1, :4], do_sample=False, max_new_tokens=16, eos_token_id=None)
    assert found[0].tolist() == continued(model, tokens_BT[0, :4], 16).tolist()


@pytest.mark.parametrize(
    ("architecture", "options", "changes", "said"),
    [
        ("moe", {"bias_rate": 0.001}, {}, "bias_rate 0.001 with qk_norm: .* without one of the two"),
        ("moe", {"bias_rate": 0.001, "top_k": 1}, NO_NORM, "top_k 1 with bias_rate: .* top_k 2 or more"),
        ("sliding", {"window": 1}, {}, "window 1: .* window of 2 or more"),
    ],
)
def test_what_no_class_computes(make_model, architecture, options, changes, said):
    with pytest.raises(NoSuchClass, match=said):
        published(make_model(architecture, options, **changes))


def test_an_architecture_of_ones_own(make_model):
    model = make_model().model_copy(update={"architecture": "own"})
    with pytest.raises(NoSuchClass, match="architecture own: no published class"):
        published(model)


TEXTS = [
    "",
    " ",
    "\n\n",
    "naïve 漢字 🙂",
    "a <|endoftext|> b",
    "<|end_of_text|>",
    "\x00\xff ÿ",
    "  two  spaces ",
]
TOKENIZERS = ("byte", "bpe", "small bpe", "pretrained", "begins")


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, Path]:
    """Manifests of a little text in the tokens of each kind."""
    folder = tmp_path_factory.mktemp("shards")
    words = "the cat sat on the mat while naïve 漢字 dogs 🙂 ran over hills"
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"{number} {words} " * 8)
    source = {"kind": "text", "domains": {"web": [str(folder / "*.txt")]}}
    kinds = {
        "byte": {"kind": "byte"},
        "bpe": {"kind": "bpe", "vocab_size": 300},
        "small bpe": {"kind": "bpe", "vocab_size": 5000},  # more than the text gives: ids without tokens
        "pretrained": pretrained(folder / "plain.json", begin=False),
        "begins": pretrained(folder / "begins.json", begin=True),
    }
    return {name: prepare(source, kind, 0.2, folder / name) for name, kind in kinds.items()}


def pretrained(path: Path, begin: bool) -> dict:
    """A tokenizer with a special token as published; with `begin`, one that puts another before each text,
    and cuts it."""
    from tokenizers import Tokenizer, processors

    from stepladder.data.tokenization import train_bpe
    from stepladder.schema.data import BPETokenizer

    train_bpe(BPETokenizer(kind="bpe", vocab_size=300), [b"the cat sat on the mat"] * 9).save(path)
    inner = Tokenizer.from_file(str(path))
    inner.add_special_tokens(["<|end_of_text|>", "<|begin_of_text|>"])
    if begin:
        first = inner.token_to_id("<|begin_of_text|>")
        inner.post_processor = processors.TemplateProcessing(
            "<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", first)]
        )
        inner.enable_truncation(4)
    inner.save(str(path))
    return {"kind": "pretrained", "path": str(path), "vocab_size": 400, "end_of_document": "<|end_of_text|>"}


@pytest.fixture(scope="module")
def tokenizers(shards, tmp_path_factory):
    """Ours and theirs, by kind; theirs lies beside a config, as in an export."""
    from transformers import AutoTokenizer

    both = {}
    for name, manifest in shards.items():
        folder = tmp_path_factory.mktemp("tokenizer")
        told = manifests.parse(manifest)
        for file, content in tokenizer_files(told, manifest, context=64).items():
            (folder / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        (folder / "config.json").write_text('{"model_type": "llama"}')
        both[name] = (tokenizer_of(told, manifest), AutoTokenizer.from_pretrained(folder), told)
    return both


@settings(max_examples=150)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from([*TEXTS, "the cat", "'s"])).map("".join))
@example(text="".join(TEXTS))
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_texts_are_the_same_ids(tokenizers, kind, text):
    ours, theirs, _ = tokenizers[kind]
    (ids,) = ours.encode([text.encode()])
    assert theirs(text)["input_ids"] == ids.tolist()
    assert theirs.decode(ids.tolist()) == text


@pytest.mark.parametrize("shape", sorted({name for name, *_ in SHAPES.values()}))
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_every_class_reads_texts_alike(make_model, shards, tmp_path, kind, shape):
    """transformers has tokenizers of its own for some classes, which are not to come between."""
    from transformers import AutoTokenizer

    spec = next(spec_of(make_model, name) for name, (chosen, *_) in SHAPES.items() if chosen == shape)
    write_model(tmp_path, spec, filled(spec).state_dict(), END, "float32")
    told = manifests.parse(shards[kind])
    for file, content in tokenizer_files(told, shards[kind], context=64).items():
        (tmp_path / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ours = tokenizer_of(told, shards[kind])
    for text in [*TEXTS, "it's 12345 cats\r\n\tAND the mat's   end"]:
        assert theirs(text)["input_ids"] == ours.encode([text.encode()])[0].tolist()
    theirs.save_pretrained(tmp_path / "again")
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again("".join(TEXTS))["input_ids"] == ours.encode(["".join(TEXTS).encode()])[0].tolist()


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_documents_end_with_a_special_token(tokenizers, kind):
    ours, theirs, told = tokenizers[kind]
    assert theirs.eos_token_id == told.end_of_document == ours.end_of_document
    assert theirs.bos_token_id is None and theirs.model_max_length == 64
    (ids,) = ours.encode([b"the cat"])
    assert theirs.decode([*ids.tolist(), theirs.eos_token_id], skip_special_tokens=True) == "the cat"
    assert theirs.decode([theirs.eos_token_id]) == theirs.eos_token


@pytest.fixture(scope="module")
def run(make_run, small_corpus, tmp_path_factory) -> tuple[RunSpec, Path, Path]:
    """A run as it lies in a ladder's folder, and its manifest."""
    ladder = tmp_path_factory.mktemp("results") / "small"
    shutil.copytree(small_corpus.parent, ladder / "data")
    spec = make_run(steps=12, learning_rate=0.03)
    folder = ladder / "runs" / spec.id
    train(spec, ladder / "data" / "manifest.json", folder, device="cpu")
    return spec, folder, ladder / "data" / "manifest.json"


def test_a_run_leaves(run, tmp_path):
    """Through the command: model, tokenizer and where they are from."""
    from transformers import AutoTokenizer

    spec, folder, manifest = run
    out = tmp_path / "new" / "model"
    done = CliRunner().invoke(app, ["export", str(folder), "--to", "hf", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output == f"{out}: Qwen3ForCausalLM\n"
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    theirs, tokenizer = load(out), AutoTokenizer.from_pretrained(out)
    assert theirs.dtype == torch.float32 and theirs.generation_config.eos_token_id == 255
    model = read_weights(folder).model
    tokens_BT = tokenizer("code 1 web", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens_BT).logits, logits(model, tokens_BT), rtol=0, atol=1e-5)
    found = theirs.generate(tokens_BT, do_sample=False, max_new_tokens=6)[0]
    assert found.tolist() == continued(model, tokens_BT[0], 6, end=255).tolist()
    told = json.loads((out / "stepladder.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    assert (told["run"], told["spec_sha256"], told["step"]) == (spec.id, spec.sha256, 12)
    assert told["target_loss"] == result["loss"] and told["data_sha256"] == manifests.parse(manifest).sha256


def test_in_half_the_bits(run, tmp_path):
    _, folder, _ = run
    export_run(folder, tmp_path / "whole")
    export_run(folder, tmp_path / "half", dtype="bfloat16")
    assert load(tmp_path / "half").dtype == torch.bfloat16
    whole, half = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "half"))
    assert all(torch.equal(half[name], tensor.bfloat16()) for name, tensor in whole.items())


def refused(*words: object, code: int = 1) -> str:
    done = CliRunner().invoke(app, ["export", *map(str, words)])
    assert done.exit_code == code and "Traceback" not in done.output, done.output
    return " ".join(done.output.split())


def test_refusals(run, shards, tmp_path, make_run):
    """A sentence each, with the file; nothing is written."""
    _, folder, _ = run
    out = tmp_path / "out"
    (tmp_path / "there").mkdir()
    assert "there: is a folder" in refused(folder, "--out", tmp_path / "there")
    (tmp_path / "file").touch()
    assert "file: is there already; name a new folder" in refused(folder, "--out", tmp_path / "file")
    assert "--to gguf: there are hf" in refused(folder, "--out", out, "--to", "gguf", code=2)
    assert "--dtype fp4" in refused(folder, "--out", out, "--dtype", "fp4", code=2)
    assert f"{folder.parent} is no run" in refused(folder.parent, "--out", out)
    said = refused(folder, "--out", out, "--step", 7)
    assert f"{folder}: no complete checkpoint of step 7" in said and "there are those of steps" in said
    said = refused(folder, "--out", out, "--manifest", shards["bpe"])
    assert f"{shards['bpe']}: describes other shards" in said and "--manifest" in said
    assert "no-manifest.json" in refused(folder, "--out", out, "--manifest", tmp_path / "no-manifest.json")
    longer = shutil.copytree(folder, tmp_path / "longer")
    (longer / "spec.json").write_text(make_run(steps=40, learning_rate=0.03).to_json())
    said = refused(longer, "--out", out, "--manifest", run[2])
    assert "no complete checkpoint of step 40" in said
    (longer / "spec.json").write_text(make_run(steps=12, learning_rate=0.01).to_json())
    said = refused(longer, "--out", out, "--manifest", run[2])
    assert "was made from another spec" in said and str(longer) in said
    shutil.copy(folder / "spec.json", longer)
    state = longer / "checkpoints" / "step-000012" / "state.json"
    state.write_bytes(state.read_bytes() + b" ")
    assert f"{state} does not match its sha256" in refused(longer, "--out", out, "--manifest", run[2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "longer", "there"]


def test_a_full_disk(run, tmp_path):
    """Nothing half-written is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        said = refused(run[1], "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "model.safetensors: " in said and "File too large" in said
    assert not [*tmp_path.iterdir()]


def test_what_no_class_computes_names_the_spec(make_run, tmp_path):
    spec = make_run("moe", options={"bias_rate": 0.001})
    (tmp_path / "spec.json").write_text(spec.to_json())
    said = refused(tmp_path, "--out", tmp_path / "out")
    assert f"{tmp_path}/spec.json: bias_rate 0.001 with qk_norm: " in said


def test_a_tokenizer_that_changed(make_run, shards, tmp_path):
    ladder = tmp_path / "small"
    shutil.copytree(shards["bpe"].parent, ladder / "data")
    spec = make_run(steps=2, vocab_size=300)
    data = spec.data.model_copy(update={"domain_weights": {"web": 1.0}})
    spec = spec.model_copy(update={"data": data})
    folder = ladder / "runs" / spec.id
    train(spec, ladder / "data" / "manifest.json", folder, device="cpu")
    export_run(folder, tmp_path / "good")
    (ladder / "data" / "tokenizer.json").write_text("{}")
    said = refused(folder, "--out", tmp_path / "out")
    assert "tokenizer.json is not what" in said and not (tmp_path / "out").exists()
    (ladder / "data" / "tokenizer.json").unlink()
    said = refused(folder, "--out", tmp_path / "out")
    assert "data/tokenizer.json: no such file" in said


def test_numbers_of_tokens(tokenizers):
    """Ids of ours that have no token are none of theirs."""
    for ours, theirs, told in tokenizers.values():
        assert max(theirs.get_vocab().values()) < told.vocab_size
        assert np.flatnonzero(ours.known)[-1] >= told.end_of_document


def theirs_of(folder: Path, zeros: tuple[str, ...]):
    """A model of the config in a folder with weights of its own drawing; `zeros` are what runs lack."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(0, 0.0 if name.endswith(zeros) else 0.2)
    return model.eval()


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "moe, no norm, one of them"])
@pytest.mark.parametrize("many_files", [False, True])
def test_what_transformers_writes_enters(make_model, tmp_path, shape, many_files):
    """With logits equal; however it spreads weights over files and whatever it leaves out of config.json."""
    spec = spec_of(make_model, shape)
    write_model(tmp_path, spec, filled(spec).state_dict(), END, "float32")
    biased = spec.options.get("bias_rate", 0) > 0
    theirs = theirs_of(tmp_path, ("shared_expert_gate.weight", *(() if biased else ("correction_bias",))))
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder, max_shard_size="10kB" if many_files else "1GB")
    assert (folder / "model.safetensors.index.json").exists() == many_files
    ours = Transformer(spec, seed=7).requires_grad_(False)
    if published(spec).gated_attention:  # its gates are not those of an export, which are zeros
        with pytest.raises(
            ValueError, match=r"q_proj.weight is not zero where runs of this shape have nothing"
        ):
            read_model(ours, spec, folder)
        return
    read_model(ours, spec, folder)
    tokens_BT = torch.randint(0, VOCABULARY, (4, 24), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(logits(ours, tokens_BT), theirs(tokens_BT).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_left_comes_back_bit_for_bit(make_model, model_of, tmp_path, shape):
    model, spec = model_of(shape), spec_of(make_model, shape)
    write_model(tmp_path, spec, model.state_dict(), END, "float32")
    ours = Transformer(spec, seed=7).requires_grad_(False)
    read_model(ours, spec, tmp_path)
    for name, weight in model.state_dict().items():
        assert torch.equal(ours.state_dict()[name], weight), name


@pytest.fixture
def entering(make_model, tmp_path) -> tuple[ModelSpec, Path]:
    """A folder whose weights fit a model of this shape."""
    spec = spec_of(make_model, "dense")
    write_model(tmp_path, spec, filled(spec).state_dict(), END, "float32")
    return spec, tmp_path


def enter(spec: ModelSpec, folder: Path) -> None:
    read_model(Transformer(spec, seed=7).requires_grad_(False), spec, folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 64}, r"hidden_size = 64, but a run of this shape has 32: set d_model in the ladder"),
        ({"num_hidden_layers": 4}, "num_hidden_layers = 4, .* has 3: set n_layers"),
        ({"num_key_value_heads": None}, "num_key_value_heads = 4, .* has 2: set n_kv_heads"),
        ({"head_dim": "8"}, "head_dim = '8', .* has 8: set d_head"),
        ({"vocab_size": 61}, "vocab_size = 61, .* has 60: set vocab_size"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings = True, .* has False: set tied_embeddings"),
        (
            {"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}},
            "rope_theta = 5.0, .* set rope_theta",
        ),
        (
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "llama3"}},
            "rope_type = 'llama3', .* no setting",
        ),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear"}}, "rope_type = 'linear'"),
        ({"rope_parameters": None, "rope_theta": 9.0}, "rope_theta = 9.0"),
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps = 1e-05, .* has 1e-06: no setting changes that"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu', .* no setting changes that"),
        ({"attention_bias": True}, "attention_bias = True, .* no setting changes that"),
        (
            {"use_sliding_window": True, "sliding_window": 8, "layer_types": None, "max_window_layers": 2},
            r"windows = \[None, None, 8\], .* set window",
        ),
        (
            {"model_type": "llama"},
            "model_type = 'llama', but runs of this shape are qwen3: change architecture",
        ),
        ({"model_type": None}, "model_type = None"),
    ],
)
def test_another_shape_is_refused(entering, changes, said):
    """Field, value, and which setting it is."""
    spec, folder = entering
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=f"config.json: {said}"):
        enter(spec, folder)


def test_a_window_that_is_never_left_is_none(entering):
    spec, folder = entering
    path = folder / "config.json"
    wide = {"use_sliding_window": True, "sliding_window": 24, "layer_types": ["sliding_attention"] * 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | wide))
    enter(spec, folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00", "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_broken_documents(entering, name, text):
    spec, folder = entering
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=f"{name}: not a JSON object"):
        enter(spec, folder)


@pytest.mark.parametrize("files", [{"a": "../a.safetensors"}, {"a": 3}, [], {"a": "/etc/passwd"}])
def test_an_index_names_files_beside_it(entering, files):
    spec, folder = entering
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    with pytest.raises(ValueError, match=r"index.json: its weight_map is none of files beside it"):
        enter(spec, folder)


def test_broken_weights(entering):
    """Missing, cut, with tensors too few, too many, of another shape or not finite."""
    spec, folder = entering
    path, norm = folder / "model.safetensors", "model.norm.weight"
    whole = load_file(path)
    with pytest.raises(ValueError, match=r"lacks model.norm.weight \(1 tensors\)"):
        save_file({name: one for name, one in whole.items() if name != norm}, path)
        enter(spec, folder)
    with pytest.raises(ValueError, match=r"has besides further \(1 tensors\)"):
        save_file(whole | {"further": torch.ones(1)}, path)
        enter(spec, folder)
    with pytest.raises(ValueError, match=r"safetensors: model.norm.weight has shape \(31,\), but .* \(32,\)"):
        save_file(whole | {norm: torch.ones(31)}, path)
        enter(spec, folder)
    with pytest.raises(ValueError, match=r"safetensors: model.norm.weight is not finite"):
        save_file(whole | {norm: torch.full((32,), torch.nan)}, path)
        enter(spec, folder)
    save_file(whole, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"model.safetensors: damaged"):
        enter(spec, folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"model.safetensors: no such file"):
        enter(spec, folder)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config.json: no such file"):
        enter(spec, folder)
