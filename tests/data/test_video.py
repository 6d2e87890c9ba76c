"""Decoding: the frames that come out are known to the index, whatever the container, the codec and the order of asking."""

import io
import struct
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from numpy.typing import NDArray

from fullrank.data import video_file
from fullrank.data.clips import select_frames
from fullrank.data.video import check, decode_all, probe, read_clips
from fullrank.errors import MediaError
from fullrank.types import Clip, ClipSpec

ASSETS = Path(__file__).resolve().parents[2] / "../shared/data/video_test_assets"
shared = pytest.mark.skipif(not ASSETS.exists(), reason="needs the media files of ../shared/data/video_test_assets")
FRACTIONS = [0.71, 0.0, 0.31, 0.9999, 0.32, 0.05]


def spec(num_frames: int = 8, frames_per_second: float = 4.0, canvas_pixels: int = 48) -> ClipSpec:
    return ClipSpec(num_frames=num_frames, frames_per_second=frames_per_second, canvas_pixels=canvas_pixels)


def picture(k: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Frame k says its number: k % 16 in the grey of its left half, k // 16 in that of its right half."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[:, : width // 2], frame[:, width // 2 :] = 8 + 15 * (k % 16), 8 + 15 * (k // 16)
    return frame


def numbers(clip: Clip) -> list[int]:
    """Which frames a clip shows, read off their greys."""
    width = clip.frames.shape[2]
    left = clip.frames[:, 4:-4, 4 : width // 2 - 4].mean(axis=(1, 2, 3))
    right = clip.frames[:, 4:-4, width // 2 + 4 : -4].mean(axis=(1, 2, 3))
    return [round((a - 8) / 15) + 16 * round((b - 8) / 15) for a, b in zip(left, right, strict=True)]


def write(
    target: Any,
    count: int,
    *,
    rate: int = 25,
    gop: int = 12,
    b_frames: int = 0,
    codec: str = "libx264",
    milliseconds: Sequence[int] | None = None,
    size: tuple[int, int] = (48, 64),
    container: str | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """``count`` numbered frames, at a constant rate or at the given milliseconds."""
    quality = {"crf": "8", "preset": "fast"} if codec == "libx264" else {"qmin": "1", "qmax": "2"}
    with av.open(target, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate if milliseconds is None else 1000, options=quality | (options or {}))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        if codec == "mpeg4":
            stream.bit_rate = 2_000_000
        if milliseconds is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(picture(k, *size), format="rgb24")
            frame.pts = k if milliseconds is None else milliseconds[k]
            frame.time_base = Fraction(1, rate if milliseconds is None else 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def expected(pts: Sequence[float], duration: float, fraction: float, wanted: ClipSpec) -> list[int]:
    """The definition, as a loop."""
    span = wanted.num_frames / wanted.frames_per_second
    found = []
    for k in range(wanted.num_frames):
        t = fraction * max(0.0, duration - span) + k / wanted.frames_per_second
        t = t % duration if duration < span else t
        found.append(max(i for i in range(len(pts)) if pts[i] <= t + 1e-3))
    return found


def same(clip: Clip, whole: Clip, indices: NDArray[np.int64]) -> None:
    np.testing.assert_array_equal(clip.pts_seconds, whole.pts_seconds[indices])
    np.testing.assert_array_equal(clip.frames, whole.frames[indices])


@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(("gop", "b_frames"), [(12, 0), (12, 3), (250, 0), (250, 2)])
def test_constant_rate_to_the_index(tmp_path: Path, container: str, gop: int, b_frames: int) -> None:
    path = tmp_path / f"video.{container}"
    write(path, 200, gop=gop, b_frames=b_frames)
    for wanted in (spec(), spec(3, 25.0), spec(4, 0.7)):
        for fraction, clip in zip(FRACTIONS, read_clips(path, FRACTIONS, wanted), strict=True):
            assert numbers(clip) == expected(np.arange(200) / 25, 8.0, fraction, wanted), (fraction, wanted)
            assert clip.frames.shape == (wanted.num_frames, 48, 64, 3)


@pytest.mark.parametrize("b_frames", [0, 3])
def test_variable_rate_to_the_index(tmp_path: Path, b_frames: int) -> None:
    path = tmp_path / "video.mp4"
    rng = np.random.default_rng(1)
    gaps = rng.choice([10, 40, 40, 400, 900], 60)
    stamps = np.concatenate([[0], np.cumsum(gaps)[:-1]]).tolist()
    write(path, 60, milliseconds=stamps, b_frames=b_frames, gop=30)
    duration = probe(path).duration_seconds
    for wanted in (spec(8, 4.0), spec(16, 30.0)):
        for fraction, clip in zip(FRACTIONS[:3], read_clips(path, FRACTIONS[:3], wanted), strict=True):
            assert numbers(clip) == expected([s / 1000 for s in stamps], duration, fraction, wanted)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_avi_shows_frames_in_order_though_it_stores_decoding_times(tmp_path: Path, b_frames: int) -> None:
    path = tmp_path / "video.avi"
    write(path, 120, codec="mpeg4", b_frames=b_frames)
    whole = decode_all(path, 48)
    assert numbers(whole) == list(range(120))
    assert (np.diff(whole.pts_seconds) > 0.0).all()
    for fraction, clip in zip(FRACTIONS, read_clips(path, FRACTIONS, spec()), strict=True):
        same(clip, whole, select_frames(whole.pts_seconds, probe(path).duration_seconds, fraction, spec()))


@pytest.mark.parametrize("b_frames", [0, 3])
def test_neither_order_nor_company_changes_a_clip(tmp_path: Path, b_frames: int) -> None:
    path = tmp_path / "video.mp4"
    write(path, 150, b_frames=b_frames, gop=40)
    together = read_clips(path, FRACTIONS, spec())
    reverse = read_clips(path, FRACTIONS[::-1], spec())[::-1]
    alone = [read_clips(path, [fraction], spec())[0] for fraction in FRACTIONS]
    for a, b, c in zip(together, reverse, alone, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.frames, c.frames)
        np.testing.assert_array_equal(a.pts_seconds, c.pts_seconds)


def test_leaving_out_unreferenced_frames_saves_decoding_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "video.mp4"
    write(path, 150, b_frames=3, gop=150)
    fast = read_clips(path, FRACTIONS, spec())
    left_out: list[float] = []
    original = video_file.VideoFile.frames

    def without(self: Any, seconds: float | None, wanted: Any = None) -> Any:
        yield from original(self, seconds, None)
        left_out.extend(self.left_out)

    monkeypatch.setattr(video_file.VideoFile, "frames", without)
    for a, b in zip(fast, read_clips(path, FRACTIONS, spec()), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
    assert not left_out
    monkeypatch.undo()
    video = video_file.VideoFile(path)
    assert sum(1 for _ in video.frames(None, [0.0, 3.0])) < 120
    assert len(video.left_out) > 50
    video.close()


def test_a_short_video_is_looped_and_a_single_frame_repeated(tmp_path: Path) -> None:
    write(tmp_path / "short.mp4", 10)
    clip = read_clips(tmp_path / "short.mp4", [0.5], spec())[0]
    assert numbers(clip) == [0, 6, 2, 8, 5, 1, 7, 3]
    write(tmp_path / "one.mp4", 1)
    clip = read_clips(tmp_path / "one.mp4", [0.99], spec())[0]
    assert numbers(clip) == [0] * 8
    assert decode_all(tmp_path / "one.mp4", 48).frames.shape == (1, 48, 64, 3)


def test_a_window_keeps_to_its_part(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    write(path, 200, b_frames=2)
    clips = read_clips(path, [0.0, 0.5, 0.999], spec(), start_seconds=2.0, end_seconds=5.0)
    assert numbers(clips[0]) == [50, 56, 62, 68, 75, 81, 87, 93]
    assert numbers(clips[1])[0] == 62
    assert max(numbers(clips[2])) < 125
    part = decode_all(path, 48, 2.0, 5.0)
    assert numbers(part)[0] == 50
    assert numbers(part)[-1] <= 126
    for fraction, clip in zip([0.0, 0.5, 0.999], clips, strict=True):
        same(clip, part, select_frames(part.pts_seconds, probe(path).duration_seconds, fraction, spec(), 2.0, 5.0))
    with pytest.raises(MediaError, match="start_seconds 9 lies behind its end at 8 s"):
        read_clips(path, [0.5], spec(), start_seconds=9.0)


def test_frames_are_shrunk_never_enlarged(tmp_path: Path) -> None:
    write(tmp_path / "wide.mp4", 3, size=(32, 160))
    assert read_clips(tmp_path / "wide.mp4", [0.0], spec(canvas_pixels=16))[0].frames.shape == (8, 16, 32, 3)
    assert read_clips(tmp_path / "wide.mp4", [0.0], spec(canvas_pixels=320))[0].frames.shape == (8, 32, 160, 3)


def turned(path: Path, quarters: int) -> None:
    """Write a rotation into the track header of an mp4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = {1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}[quarters]
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotation_in_the_metadata_is_carried_out(tmp_path: Path, quarters: int) -> None:
    path = tmp_path / "video.mp4"
    write(path, 5)
    plain = decode_all(path, 48).frames[3]
    turned(path, quarters)  # the matrix turns the stored picture clockwise
    upright = decode_all(path, 48).frames[3]
    np.testing.assert_array_equal(upright, np.rot90(plain, -quarters))
    report = check(path)
    assert (report.height, report.width) == upright.shape[:2]


class _Pipe(io.RawIOBase):
    """A file that cannot be rewound, so that a muxer cannot go back and write the duration."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data)
        return len(data)


def test_a_container_without_a_duration_is_measured(tmp_path: Path) -> None:
    pipe, path = _Pipe(), tmp_path / "stream.mkv"
    write(pipe, 100, container="matroska", b_frames=2)
    path.write_bytes(pipe.data)
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).duration_seconds == pytest.approx(4.0, abs=0.041)
    for fraction, clip in zip(FRACTIONS, read_clips(path, FRACTIONS, spec()), strict=True):
        duration = probe(path).duration_seconds
        assert numbers(clip) == expected(np.arange(100) / 25, duration, fraction, spec())


def test_a_file_cut_off_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    write(path, 200, b_frames=2)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    whole, duration = decode_all(path, 48), probe(path).duration_seconds
    assert duration == pytest.approx(8.0, abs=0.05)
    assert 60 < len(whole.pts_seconds) < 140
    for fraction, clip in zip(FRACTIONS, read_clips(path, FRACTIONS, spec()), strict=True):
        same(clip, whole, select_frames(whole.pts_seconds, duration, fraction, spec()))
        assert len(set(numbers(clip))) == 8, "a clip must not stand still where the video has ended"
    report = check(path)
    assert report.pts_seconds[-1] < 0.75 * report.info.duration_seconds


@pytest.mark.parametrize(("codec", "b_frames"), [("libx264", 3), ("mpeg4", 0), ("mpeg2video", 2)])
def test_frames_before_a_keyframe_that_refer_further_back_are_not_taken_after_a_seek(
    tmp_path: Path, codec: str, b_frames: int
) -> None:
    path = tmp_path / "video.mkv"
    options = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0"} if codec == "libx264" else None
    write(path, 120, codec=codec, b_frames=b_frames, gop=20, options=options)
    whole, duration, wanted = decode_all(path, 48), probe(path).duration_seconds, spec(2, 25.0)
    assert numbers(whole) == list(range(120))
    for fraction in np.linspace(0.3, 0.999, 60):
        clip = read_clips(path, [fraction], wanted)[0]
        same(clip, whole, select_frames(whole.pts_seconds, duration, fraction, wanted))


@pytest.mark.parametrize("hits_keyframe", [False, True])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path, codec: str, hits_keyframe: bool) -> None:
    path = tmp_path / "video.mp4"
    write(path, 120, codec=codec, gop=10)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size and p.is_keyframe == hits_keyframe]
        hit = packets[len(packets) // 2]
        first, length = hit.pos, hit.size
    data = bytearray(path.read_bytes())
    data[first : first + length] = b"\0" * length
    path.write_bytes(data)
    whole, duration = decode_all(path, 48), probe(path).duration_seconds
    assert 105 <= len(whole.pts_seconds) < 120
    assert numbers(whole)[-5:] == [115, 116, 117, 118, 119]
    fractions = np.linspace(0.3, 0.7, 20).tolist()
    for wanted in (spec(2, 25.0), spec()):
        for fraction, clip in zip(fractions, read_clips(path, fractions, wanted), strict=True):
            same(clip, whole, select_frames(whole.pts_seconds, duration, fraction, wanted))
            alone = read_clips(path, [fraction], wanted)[0]
            np.testing.assert_array_equal(alone.frames, clip.frames)
    assert check(path).failures


def unreadable(folder: Path) -> dict[str, tuple[Path, str]]:
    """{kind: (file, expected reason)}"""
    write(folder / "cut.mp4", 30)
    data = bytearray((folder / "cut.mp4").read_bytes())
    (folder / "cut.mp4").write_bytes(data[: data.index(b"moov") - 4])
    (folder / "half.mp4").write_bytes(data[: data.index(b"stsd")])
    write(folder / "hollow.mp4", 30)
    data = bytearray((folder / "hollow.mp4").read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = b"\0" * (end - start)
    (folder / "hollow.mp4").write_bytes(data)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is not a video\n" * 50)
    with wave.open(str(folder / "sound.avi"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\1\2" * 800)
    (folder / "folder.mp4").mkdir()
    reasons = {
        "empty.mp4": "empty file",
        "text.mp4": "not a media file",
        "sound.avi": "no video stream",
        "missing.mp4": "file not found",
        "folder.mp4": "a folder, not a file",
        "cut.mp4": "cannot be decoded: its index",
        "half.mp4": "cannot be decoded",
        "hollow.mp4": "cannot be decoded",
    }
    return {name: (folder / name, reason) for name, reason in reasons.items()}


@pytest.mark.parametrize(
    "kind", ["empty.mp4", "text.mp4", "sound.avi", "missing.mp4", "folder.mp4", "cut.mp4", "half.mp4", "hollow.mp4"]
)
def test_what_cannot_be_decoded_says_why(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path, reason = unreadable(tmp_path)[kind]
    capfd.readouterr()  # the encoder's own lines
    caplog.clear()
    for read in (lambda: read_clips(path, [0.5, 0.1], spec()), lambda: decode_all(path, 48), lambda: check(path)):
        with pytest.raises(MediaError) as caught:
            read()
        assert caught.value.reason.startswith(reason)
        assert caught.value.path == str(path)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4v"
    with av.open(str(path), "w", format="mp4") as out:
        sound: Any = out.add_stream("aac", rate=8000)
        cover: Any = out.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt, cover.disposition = 48, 64, "rgb24", Disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        out.mux(cover.encode(av.VideoFrame.from_ndarray(picture(3), format="rgb24")) + cover.encode(None))
        out.mux(sound.encode(samples) + sound.encode(None))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(MediaError, match="no video stream"):
        probe(path)


def test_probe_says_what_the_container_says(tmp_path: Path) -> None:
    write(tmp_path / "video.mp4", 50)
    info = probe(tmp_path / "video.mp4")
    assert (info.duration_seconds, info.frames, info.frames_per_second) == (2.0, 50, 25.0)
    assert (info.width, info.height, info.codec, info.pixel_format) == (64, 48, "h264", "yuv420p")


def test_names_that_are_not_utf8_can_be_read(tmp_path: Path) -> None:
    write(tmp_path / "video.mp4", 5)
    strange = tmp_path / b"caf\xe9 \xff.mp4".decode(errors="surrogateescape")
    (tmp_path / "video.mp4").rename(strange)
    assert numbers(read_clips(strange, [0.0], spec(2, 25.0))[0]) == [0, 1]


@shared
@pytest.mark.parametrize(
    "name",
    [
        "decord/corrupted.mp4",
        "decord/flipping_a_pancake.mkv",
        "imageio/newtonscradle.gif",
        "imageio/realshort.mp4",
        "mmaction2/part_0.mp4",
        "torchcodec/av1_video.mkv",
        "torchcodec/h265_video.mp4",
        "torchcodec/h264_10bits.mp4",
        "ucf101/v_ApplyEyeMakeup_g01_c01.avi",
        "ucf101/v_BenchPress_g01_c05.avi",
        "wlasl_odd/01586.mp4",
    ],
)
def test_clips_equal_those_cut_from_all_frames(name: str) -> None:
    path = ASSETS / name
    whole, duration = decode_all(path, 32), probe(path).duration_seconds
    for wanted in (spec(8, 4.0, 32), spec(3, 30.0, 32)):
        for fraction, clip in zip(FRACTIONS, read_clips(path, FRACTIONS, wanted), strict=True):
            same(clip, whole, select_frames(whole.pts_seconds, duration, fraction, wanted))


@shared
def test_odd_files_are_what_their_manifest_says() -> None:
    assert [round(x, 2) for x in decode_all(ASSETS / "imageio/newtonscradle.gif", 32).pts_seconds[:4]] == [
        0.0,
        0.05,
        0.07,
        0.09,
    ]
    for turn, shape in ((0, (64, 114)), (90, (114, 64)), (180, (64, 114)), (270, (114, 64))):
        assert decode_all(ASSETS / f"decord/video_{turn}.mov", 64).frames.shape == (3, *shape, 3)
    assert len(check(ASSETS / "torchcodec/av1_video.mkv").pts_seconds) == 125
    assert len(check(ASSETS / "imageio/imageio_issue245.gif").pts_seconds) == 1
    damaged = check(ASSETS / "decord/corrupted.mp4")
    assert damaged.failures
    assert 28 <= len(damaged.pts_seconds) < 50
    for name in ("mmaction2/test.wav", "torchcodec/nasa_13013.mp4.audio.mp3"):
        with pytest.raises(MediaError, match="no video stream"):
            probe(ASSETS / name)


@shared
def test_after_a_seek_nothing_comes_before_a_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    """This 4:4:4 file needs its first packet to be read; without it, frames that refer to nothing decode here and there."""
    monkeypatch.setattr(video_file.VideoFile, "_prime", lambda self: None)
    video = video_file.VideoFile(ASSETS / "imageio/cockatoo.mp4")
    first = next(video.frames(8.5), None)
    assert first is None or first[1].key_frame
    video.close()
