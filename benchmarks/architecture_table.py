"""Tiny configurations of `transformers`' architectures, and what goes into them.

`benchmarks.architectures` makes networks of them, compiles and compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["ARCHITECTURES", "Architecture", "Dlrm", "Feed", "Generator"]

Feed = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Architecture:
    """A network and what goes into it.

    Attributes:
        kind: What it is for, as the page groups them.
        model: Makes it: a class of `transformers`, or of this file.
        feed: Makes its inputs.
        config: Class of its configuration; without one, the model takes no arguments.
        options: Arguments of the configuration.
    """

    kind: str
    model: str
    feed: Callable[[torch.Generator], Feed]
    config: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


# -- inputs


def _tokens(g: torch.Generator) -> Feed:
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 11:] = 0
    return {"input_ids": _ids(g), "attention_mask": mask}


def _ids(g: torch.Generator, length: int = 16) -> torch.Tensor:
    return torch.randint(3, 90, (2, length), generator=g)


def _only_ids(g: torch.Generator) -> Feed:
    return {"input_ids": _ids(g)}


def _long_ids(g: torch.Generator) -> Feed:
    return {"input_ids": _ids(g, 64)}


def _pairs(g: torch.Generator) -> Feed:
    return {**_tokens(g), "decoder_input_ids": _ids(g, 8)}


def _image(size: int, channels: int = 3) -> Callable[[torch.Generator], Feed]:
    return lambda g: {"pixel_values": torch.randn(2, channels, size, size, generator=g)}


def _image_and_tokens(size: int) -> Callable[[torch.Generator], Feed]:
    return lambda g: {**_tokens(g), **_image(size)(g)}


def _wave(g: torch.Generator) -> Feed:
    return {"input_values": torch.randn(2, 2000, generator=g)}


def _spectrum(name: str, *shape: int) -> Callable[[torch.Generator], Feed]:
    return lambda g: {name: torch.randn(2, *shape, generator=g)}


def _spectrum_and_ids(name: str, *shape: int) -> Callable[[torch.Generator], Feed]:
    return lambda g: {**_spectrum(name, *shape)(g), "decoder_input_ids": _ids(g, 8)}


# -- networks that transformers does not have


class Dlrm(torch.nn.Module):
    """Ranking of adverts: bags of categories, dense features, products of all pairs."""

    def __init__(self) -> None:
        super().__init__()
        bags = [torch.nn.EmbeddingBag(n, 16, mode="sum") for n in (50, 30, 70)]
        self.bags = torch.nn.ModuleList(bags)
        self.bottom = torch.nn.Sequential(
            torch.nn.Linear(13, 32), torch.nn.ReLU(), torch.nn.Linear(32, 16), torch.nn.ReLU()
        )
        self.top = torch.nn.Sequential(
            torch.nn.Linear(16 + 6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
        )

    def forward(self, dense: torch.Tensor, categories: torch.Tensor) -> dict[str, torch.Tensor]:
        """Score a batch of dense features and of categories [batch, 3, 4]."""
        x = self.bottom(dense)
        bags = [bag(categories[:, i]) for i, bag in enumerate(self.bags)]
        vectors = torch.stack([x, *bags], 1)
        row, column = torch.tril_indices(4, 4, -1)
        pairs = torch.bmm(vectors, vectors.transpose(1, 2))[:, row, column]
        return {"logits": torch.sigmoid(self.top(torch.cat([x, pairs], 1)))}


def _clicks(g: torch.Generator) -> Feed:
    dense = torch.randn(4, 13, generator=g)
    return {"dense": dense, "categories": torch.randint(0, 30, (4, 3, 4), generator=g)}


class Generator(torch.nn.Module):
    """The generator of a CycleGAN: InstanceNorm, reflected pads, transposed convolutions."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, 16, 7), nn.InstanceNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.InstanceNorm2d(32, affine=True), nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(32, 16, 3, 2, 1, 1), nn.InstanceNorm2d(16), nn.ReLU(),
            nn.ReflectionPad2d(3), nn.Conv2d(16, 3, 7), nn.Tanh(),
        )  # fmt: skip

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Translate images."""
        return {"logits": self.layers(pixel_values)}


# -- the table

_TEXT = {
    "vocab_size": 99, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 64, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
_GROUPED = {**_TEXT, "num_key_value_heads": 2}
_EXPERTS = {**_GROUPED, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2,
            "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}  # fmt: skip
_PAIR = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
       "num_decoder_layers": 2, "num_heads": 4}  # fmt: skip
_SEEN = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 64, "image_size": 32, "patch_size": 8}  # fmt: skip
_HEARD = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": (32, 32, 32), "conv_kernel": (8, 4, 4), "conv_stride": (4, 4, 4),
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "vocab_size": 32,
}  # fmt: skip
_BACKBONE = {"backbone": None, "use_timm_backbone": False, "use_pretrained_backbone": False}
_QUERIES = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "num_queries": 10,
}  # fmt: skip
_RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32],
           "depths": [1, 1, 1, 1], "layer_type": "basic"}  # fmt: skip
_STAGES = ["stage2", "stage3", "stage4"]


def _decoder(stem: str, options: Mapping[str, Any], kind: str = "decoder", **more: Any) -> Any:
    given = {"use_cache": False, **options, **more}
    return Architecture(kind, f"{stem}ForCausalLM", _tokens, f"{stem}Config", given)


def _encoder(stem: str, feed: Any = _tokens, **more: Any) -> Architecture:
    return Architecture("encoder", f"{stem}Model", feed, f"{stem}Config", {**_TEXT, **more})


def _pair(model: str, config: str, options: Mapping[str, Any], **more: Any) -> Architecture:
    given = {"use_cache": False, **options, **more}
    return Architecture("encoder-decoder", model, _pairs, config, given)


def _seen(model: str, config: str, size: int = 32, **options: Any) -> Architecture:
    return Architecture("vision", model, _image(size), config, options)


def _found(model: str, config: str, size: int, **options: Any) -> Architecture:
    return Architecture("detection, segmentation, depth", model, _image(size), config, options)


def _heard(model: str, config: str, feed: Any = _wave, **options: Any) -> Architecture:
    return Architecture("audio", model, feed, config, options)


ARCHITECTURES: dict[str, Architecture] = {
    "llama": _decoder("Llama", _GROUPED),
    "mistral": _decoder("Mistral", _GROUPED, sliding_window=8),
    "qwen2": _decoder("Qwen2", _GROUPED),
    "qwen3": _decoder("Qwen3", _GROUPED, head_dim=16),
    "gemma": _decoder("Gemma", _GROUPED, head_dim=16),
    "gemma2": _decoder("Gemma2", _GROUPED, head_dim=16, sliding_window=8),
    "gemma3": Architecture("decoder", "Gemma3ForCausalLM", _tokens, "Gemma3TextConfig",
                           {**_GROUPED, "use_cache": False, "head_dim": 16, "sliding_window": 8}),
    "phi": _decoder("Phi", _TEXT),
    "phi3": _decoder("Phi3", _GROUPED),
    "opt": _decoder("OPT", _TEXT, ffn_dim=64, word_embed_proj_dim=64),
    "gpt_neo": _decoder("GPTNeo", _TEXT, num_layers=2, num_heads=4,
                        attention_types=[[["global", "local"], 1]], window_size=8),
    "gpt_neox": _decoder("GPTNeoX", _TEXT),
    "gptj": _decoder("GPTJ", {}, vocab_size=99, n_embd=64, n_layer=2, n_head=4, rotary_dim=8,
                     n_positions=64),
    "codegen": _decoder("CodeGen", {}, vocab_size=99, n_embd=64, n_layer=2, n_head=4, rotary_dim=8,
                        n_positions=64),
    "bloom": _decoder("Bloom", {}, vocab_size=99, hidden_size=64, n_layer=2, n_head=4),
    "falcon": _decoder("Falcon", _TEXT),
    "mpt": _decoder("Mpt", {}, vocab_size=99, d_model=64, n_layers=2, n_heads=4, max_seq_len=64),
    "stablelm": _decoder("StableLm", _GROUPED),
    "starcoder2": _decoder("Starcoder2", _GROUPED),
    "cohere": _decoder("Cohere", _GROUPED),
    "olmo2": _decoder("Olmo2", _GROUPED),
    "granite": _decoder("Granite", _GROUPED),
    "glm": _decoder("Glm", _GROUPED, head_dim=16),
    "xglm": _decoder("XGLM", {}, vocab_size=99, d_model=64, num_layers=2, attention_heads=4,
                     ffn_dim=64, max_position_embeddings=64),
    "persimmon": _decoder("Persimmon", _TEXT),
    "nemotron": _decoder("Nemotron", _GROUPED),
    "mixtral": _decoder("Mixtral", _EXPERTS, "mixture of experts"),
    "qwen2_moe": _decoder("Qwen2Moe", _EXPERTS, "mixture of experts"),
    "qwen3_moe": _decoder("Qwen3Moe", _EXPERTS, "mixture of experts", head_dim=16),
    "olmoe": _decoder("Olmoe", _EXPERTS, "mixture of experts"),
    "granitemoe": _decoder("GraniteMoe", _EXPERTS, "mixture of experts"),
    "phimoe": _decoder("Phimoe", _EXPERTS, "mixture of experts"),
    "gpt_oss": _decoder("GptOss", _EXPERTS, "mixture of experts", head_dim=16, sliding_window=8),
    "deepseek_v3": _decoder("DeepseekV3", _TEXT, "mixture of experts", n_routed_experts=4,
                            n_group=2, topk_group=1, num_experts_per_tok=2, first_k_dense_replace=1,
                            moe_intermediate_size=32, q_lora_rank=16, kv_lora_rank=16,
                            qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16),
    "jetmoe": _decoder("JetMoe", _EXPERTS, "mixture of experts", kv_channels=16),
    "mamba": _decoder("Mamba", _TEXT, "state space, recurrent", state_size=8),
    "falcon_mamba": _decoder("FalconMamba", _TEXT, "state space, recurrent", state_size=8),
    "mamba2": _decoder("Mamba2", _TEXT, "state space, recurrent", state_size=8, num_heads=8,
                       head_dim=16, n_groups=1, chunk_size=8),
    "rwkv": _decoder("Rwkv", _TEXT, "state space, recurrent", attention_hidden_size=64),
    "bart": _pair("BartForConditionalGeneration", "BartConfig", _PAIR),
    "mbart": _pair("MBartForConditionalGeneration", "MBartConfig", _PAIR),
    "pegasus": _pair("PegasusForConditionalGeneration", "PegasusConfig", _PAIR),
    "marian": _pair("MarianMTModel", "MarianConfig", _PAIR, decoder_vocab_size=99),
    "m2m_100": _pair("M2M100ForConditionalGeneration", "M2M100Config", _PAIR),
    "blenderbot": _pair("BlenderbotForConditionalGeneration", "BlenderbotConfig", _PAIR),
    "led": _pair("LEDForConditionalGeneration", "LEDConfig", _PAIR, attention_window=8,
                 max_encoder_position_embeddings=64, max_decoder_position_embeddings=64),
    "t5": _pair("T5ForConditionalGeneration", "T5Config", _T5),
    "mt5": _pair("MT5ForConditionalGeneration", "MT5Config", _T5),
    "longt5": _pair("LongT5ForConditionalGeneration", "LongT5Config", _T5, local_radius=4),
    "switch_transformers": _pair("SwitchTransformersForConditionalGeneration",
                                 "SwitchTransformersConfig", _T5, num_experts=4),
    "prophetnet": _pair("ProphetNetForConditionalGeneration", "ProphetNetConfig", {},
                        vocab_size=99, hidden_size=32, num_encoder_layers=2, num_decoder_layers=2,
                        num_encoder_attention_heads=4, num_decoder_attention_heads=4,
                        encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=64),
    "roberta": _encoder("Roberta"),
    "albert": _encoder("Albert", embedding_size=16),
    "electra": _encoder("Electra", embedding_size=16),
    "distilbert": _encoder("DistilBert", dim=32, n_layers=2, n_heads=4, hidden_dim=64),
    "deberta": _encoder("Deberta", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "deberta_v2": _encoder("DebertaV2", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "mpnet": _encoder("MPNet"),
    "longformer": _encoder("Longformer", attention_window=8),
    "big_bird": _encoder("BigBird", attention_type="original_full"),
    "fnet": _encoder("FNet", _only_ids),
    "squeezebert": _encoder("SqueezeBert", embedding_size=64),
    "modernbert": _encoder("ModernBert", global_attn_every_n_layers=2, local_attention=8,
                           reference_compile=False),
    "mobilebert": _encoder("MobileBert", embedding_size=32, intra_bottleneck_size=32,
                           true_hidden_size=32),
    "convbert": _encoder("ConvBert", embedding_size=64),
    "roformer": _encoder("RoFormer", embedding_size=64),
    "canine": _encoder("Canine", _long_ids, local_transformer_stride=16),
    "layoutlm": _encoder("LayoutLM"),
    "ibert": _encoder("IBert"),
    "efficientnet": _seen("EfficientNetForImageClassification", "EfficientNetConfig", 64,
                          width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320),
    "mobilenet_v1": _seen("MobileNetV1ForImageClassification", "MobileNetV1Config", 64,
                          depth_multiplier=0.25),
    "mobilevit": _seen("MobileViTForImageClassification", "MobileViTConfig", 64,
                       hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32]),
    "mobilevitv2": _seen("MobileViTV2ForImageClassification", "MobileViTV2Config", 64,
                         width_multiplier=0.25),
    "beit": _seen("BeitForImageClassification", "BeitConfig", **_SEEN,
                  use_relative_position_bias=True),
    "deit": _seen("DeiTForImageClassification", "DeiTConfig", **_SEEN),
    "dinov2": _seen("Dinov2ForImageClassification", "Dinov2Config", **_SEEN),
    "swinv2": _seen("Swinv2ForImageClassification", "Swinv2Config", 32, image_size=32, patch_size=2,
                    embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4),
    "pvt_v2": _seen("PvtV2ForImageClassification", "PvtV2Config", 64, image_size=64,
                    hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1],
                    num_attention_heads=[1, 1, 2, 2]),
    "levit": _seen("LevitForImageClassification", "LevitConfig", 64, image_size=64,
                   hidden_sizes=[16, 32, 48], num_attention_heads=[2, 2, 2], depths=[1, 1, 1],
                   key_dim=[8, 8, 8]),
    "poolformer": _seen("PoolFormerForImageClassification", "PoolFormerConfig", 64,
                        hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
    "focalnet": _seen("FocalNetForImageClassification", "FocalNetConfig", 32, image_size=32,
                      patch_size=2, embed_dim=16, depths=[1, 1], hidden_sizes=[16, 32],
                      focal_levels=[2, 2], focal_windows=[3, 3]),
    "convnextv2": _seen("ConvNextV2ForImageClassification", "ConvNextV2Config", 64,
                        hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
    "regnet": _seen("RegNetForImageClassification", "RegNetConfig", 64, embedding_size=16,
                    hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1], groups_width=8),
    "bit": _seen("BitForImageClassification", "BitConfig", 64, embedding_size=16, num_groups=8,
                 hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
    "hiera": _seen("HieraForImageClassification", "HieraConfig", 64, image_size=[64, 64],
                   embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
    "rt_detr": _found("RTDetrForObjectDetection", "RTDetrConfig", 64, **_QUERIES,
                      backbone_config={**_RESNET, "model_type": "rt_detr_resnet",
                                       "out_features": _STAGES},
                      encoder_hidden_dim=32, encoder_in_channels=[16, 24, 32],
                      feat_channels=[32, 32, 32], decoder_in_channels=[32, 32, 32],
                      decoder_n_points=2, num_denoising=0, num_labels=5, hidden_expansion=0.5,
                      eval_size=None),
    "conditional_detr": _found("ConditionalDetrForObjectDetection", "ConditionalDetrConfig", 64,
                               **_QUERIES, **_BACKBONE,
                               backbone_config={**_RESNET, "out_features": ["stage4"]}),
    "deformable_detr": _found("DeformableDetrForObjectDetection", "DeformableDetrConfig", 64,
                              **_QUERIES, **_BACKBONE,
                              backbone_config={**_RESNET, "out_features": _STAGES},
                              num_feature_levels=4),
    "yolos": _found("YolosForObjectDetection", "YolosConfig", 32, **{**_SEEN,
                    "image_size": [32, 32]}, num_detection_tokens=5),
    "glpn": _found("GLPNForDepthEstimation", "GLPNConfig", 64, hidden_sizes=[16, 16, 32, 32],
                   depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 2],
                   decoder_hidden_size=16),
    "upernet": _found("UperNetForSemanticSegmentation", "UperNetConfig", 64, hidden_size=32,
                      backbone_config={**_RESNET, "out_features": ["stage1", *_STAGES]},
                      auxiliary_in_channels=24, auxiliary_channels=16, num_labels=5),
    "clip": Architecture("image and text", "CLIPModel", _image_and_tokens(32), "CLIPConfig",
                         {"text_config": _TEXT, "vision_config": _SEEN, "projection_dim": 32}),
    "vilt": Architecture("image and text", "ViltModel", _image_and_tokens(32), "ViltConfig",
                         {**_TEXT, **_SEEN, "max_image_length": -1}),
    "blip": Architecture("image and text", "BlipForImageTextRetrieval", _image_and_tokens(32),
                         "BlipConfig", {"text_config": {**_TEXT, "encoder_hidden_size": 32},
                                        "vision_config": _SEEN, "image_text_hidden_size": 32}),
    "wav2vec2": _heard("Wav2Vec2ForCTC", "Wav2Vec2Config", **_HEARD),
    "hubert": _heard("HubertForCTC", "HubertConfig", **_HEARD),
    "wavlm": _heard("WavLMForCTC", "WavLMConfig", **_HEARD),
    "unispeech_sat": _heard("UniSpeechSatForCTC", "UniSpeechSatConfig", **_HEARD),
    "sew": _heard("SEWForCTC", "SEWConfig", **_HEARD, squeeze_factor=2),
    "data2vec_audio": _heard("Data2VecAudioForCTC", "Data2VecAudioConfig", **_HEARD),
    "wav2vec2_bert": _heard("Wav2Vec2BertForCTC", "Wav2Vec2BertConfig",
                            _spectrum("input_features", 20, 16), **{**_HEARD, "hidden_act": "gelu"},
                            feature_projection_input_dim=16),
    "ast": _heard("ASTForAudioClassification", "ASTConfig", _spectrum("input_values", 32, 16),
                  hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
                  max_length=32, num_mel_bins=16, patch_size=8, frequency_stride=8, time_stride=8),
    "whisper": _heard("WhisperForConditionalGeneration", "WhisperConfig",
                      _spectrum_and_ids("input_features", 16, 64),
                      **{**_PAIR, "max_source_positions": 32, "max_target_positions": 32},
                      num_mel_bins=16, use_cache=False),
    "speech_to_text": _heard("Speech2TextForConditionalGeneration", "Speech2TextConfig",
                             _spectrum_and_ids("input_features", 32, 16), **_PAIR,
                             input_feat_per_channel=16, conv_channels=32, use_cache=False,
                             max_source_positions=64, max_target_positions=64),
    "moonshine": _heard("MoonshineForConditionalGeneration", "MoonshineConfig",
                        lambda g: {**_wave(g), "decoder_input_ids": _ids(g, 8)}, vocab_size=99,
                        hidden_size=32, intermediate_size=64, encoder_num_hidden_layers=2,
                        decoder_num_hidden_layers=2, encoder_num_attention_heads=4,
                        decoder_num_attention_heads=4, use_cache=False),
    "patchtst": Architecture("others", "PatchTSTForPrediction",
                             lambda g: {"past_values": torch.randn(2, 32, 3, generator=g)},
                             "PatchTSTConfig", {"num_input_channels": 3, "context_length": 32,
                             "patch_length": 8, "patch_stride": 8, "d_model": 32, "ffn_dim": 64,
                             "num_hidden_layers": 2, "prediction_length": 8}),
    "dlrm": Architecture("others", "Dlrm", _clicks),
    "instance_norm_gan": Architecture("others", "Generator", _image(32)),
}  # fmt: skip
