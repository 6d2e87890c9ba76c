import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fullrank.cli import main, train


@pytest.fixture(scope="module")
def run(tmp_path_factory, video_folder, small_flags):
    base = tmp_path_factory.mktemp("train")
    flags = ["--data.path", str(video_folder), "--out", str(base / "run"), "--max-steps", "4", "--json", str(base / "out.json")]
    assert main(["train", "vicreg.video", *flags, *small_flags]) == 0
    return base


def test_one_command_gives_an_encoder_its_features_and_a_page(run):
    names = {path.name for path in (run / "run").iterdir()}
    assert {"checkpoint.pt", "features", "report.html", "metrics.jsonl", "spectrum.jsonl", "events.jsonl"} <= names
    said = json.loads((run / "out.json").read_text())
    assert said["steps"] == 4
    assert said["report"].endswith("report.html")
    assert said["verdict"]["kind"] in ("healthy", "mean_shift", "temporal", "dimensional", "cluster", "complete")
    assert (run / "run" / "features" / "thumbnails.npy").exists()
    known = json.loads((run / "run" / "evaluation.json").read_text())
    assert 0 <= known["representation"]["label, kNN leave-one-out"]["top1"] <= 1
    assert known["embedding"]["label, kNN leave-one-out"]["n"] == 12


def test_extract_evaluate_spectrum_report_inspect_follow(run, video_folder, tmp_path, capsys):
    features = str(tmp_path / "features")
    extract = ["extract", str(run / "run"), "--data.path", str(video_folder), "--data.num-workers", "0", "--out", features]
    assert main([*extract, "--json", str(tmp_path / "e.json")]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["rows"] == 12
    assert main(["spectrum", features, "--out", str(tmp_path / "f.pdf")]) == 0
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
    assert main(["report", str(run / "run"), "--out", str(tmp_path / "r.html")]) == 0
    assert main(["inspect", str(run / "run")]) == 0
    assert "vicreg" in capsys.readouterr().out


def test_a_run_can_be_used_from_another_folder_and_its_features_by_its_name(run, video_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(video_folder.parent)
    out, small = tmp_path / "run", ["--max-steps", "2", "--method.projector", "8", "8"]
    flags = ["--data.canvas-pixels", "32", "--method.augmentation.size-pixels", "32", "--backbone.width", "0.125"]
    assert (
        main(
            ["train", "vicreg.video", "--data.path", video_folder.name, "--data.batch-size", "4", "--out", str(out)]
            + small
            + flags
        )
        == 0
    )
    assert "`fullrank diagnose" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main(["extract", str(out), "--out", "features"]) == 0
    assert main(["spectrum", str(out), "--json", "s.json"]) == 0
    assert set(json.loads((tmp_path / "s.json").read_text())["diagnosis"]["kinds"]) == {"representation", "embedding"}
    assert main(["spectrum", f"{out}#embedding"]) == 0


def test_a_file_that_convert_wrote_is_not_taken_for_another_codebase(run, video_folder, tmp_path, capsys):
    file = tmp_path / "mine.safetensors"
    assert main(["convert", str(run / "run"), "--to", "safetensors", "--out", str(file)]) == 0
    assert main(["extract", str(file), "--data.path", str(video_folder), "--out", str(tmp_path / "f")]) == 2
    assert "`fullrank convert` made of vicreg.video" in capsys.readouterr().err


def test_a_finished_run_is_not_resumed_but_says_how_to_train_longer(run, tmp_path, capsys):
    shutil.copytree(run / "run", tmp_path / "run")
    before = (tmp_path / "run" / "summary.json").read_text()
    (tmp_path / "run" / "report.html").unlink()
    assert main(["train", "--resume", str(tmp_path / "run"), "--json", str(tmp_path / "s.json")]) == 0
    said = capsys.readouterr().out
    assert "is finished at step 4 of 4 (all its steps are done)" in said
    assert f"fullrank train vicreg.video --backbone.weights {tmp_path / 'run'}" in said
    assert "clips/s" not in said
    assert (tmp_path / "run" / "summary.json").read_text() == before, "a run of no steps has no speed"
    assert json.loads((tmp_path / "s.json").read_text())["steps"] == 4
    assert (tmp_path / "run" / "report.html").exists(), "what was missing is made"


def test_a_run_whose_time_was_up_is_finished_too(run, tmp_path, capsys):
    shutil.copytree(run / "run", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text()) | {"steps": 3, "stopped": "budget"}
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary))
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "is finished at step 3 of 4 (its time was up)" in capsys.readouterr().out


def test_the_start_says_where_and_how_in_words(video_folder, small_flags, tmp_path, capsys):
    flags = ["--data.path", str(video_folder), "--out", str(tmp_path / "b"), "--max-steps", "1", "--no-report", *small_flags]
    assert main(["train", "vicreg.video", *flags]) == 0
    said = capsys.readouterr().err
    assert "on the CPU in float32 with 1 process\n" in said
    assert "Warning" not in said


def test_stills_for_clips_and_videos_for_stills_are_one_warning_that_names_the_recipe(
    video_folder, small_flags, tmp_path, capsys
):
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.fromarray(np.full((40, 40, 3), 20 * i, np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    flags = ["--max-steps", "1", "--no-report", *small_flags]
    pictures = ["--data.path", str(tmp_path / "pictures"), "--out", str(tmp_path / "a")]
    assert main(["train", "vicreg.video", *pictures, *flags]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    assert said == [
        "Warning: these are still images, and every clip would be one of them, repeated 2 times; the recipe vicreg.images fits."
    ]
    videos = ["--data.path", str(video_folder), "--out", str(tmp_path / "b"), "--data.num-frames", "1"]
    still = [flag for i, flag in enumerate(flags) if "--data.num-frames" not in (flag, flags[i - 1])]
    assert main(["train", "vicreg.images", *videos, *still]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "Warning" in line]
    assert said == [
        "Warning: these are videos, of which the settings take single frames, so that motion is not seen; "
        "the recipe vicreg.video fits."
    ]


def test_a_second_extraction_is_read_from_disk(run, video_folder, tmp_path):
    flags = [
        "extract",
        str(run / "run"),
        "--data.path",
        str(video_folder),
        "--data.num-workers",
        "0",
        "--out",
        str(tmp_path / "f"),
    ]
    assert main(flags) == 0
    before = (tmp_path / "f" / "representation.npy").stat().st_mtime_ns
    assert main(flags) == 0
    assert (tmp_path / "f" / "representation.npy").stat().st_mtime_ns == before
    assert main([*flags, "--num-clips", "2"]) == 2
    assert (tmp_path / "f" / "representation.npy").stat().st_mtime_ns == before


def test_training_starts_from_the_weights_of_a_run(run, video_folder, small_flags, tmp_path):
    flags = ["--data.path", str(video_folder), "--out", str(tmp_path / "b"), "--max-steps", "1", "--no-report", *small_flags]
    assert main(["train", "vicreg.video", *flags, "--backbone.weights", str(run / "run")]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["train", "vicreg.vido"], "Did you mean 'vicreg.video'"),
        (["train", "barlow_twin.video"], "Unknown recipe 'barlow_twin.video'"),
        (["train"], "must be given a recipe"),
        (["train", "vicreg.video"], "--data.path must be given"),
        (["train", "vicreg.video", "--data.path", "/nowhere/at/all"], "/nowhere/at/all"),
        (["train", "vicreg.video", "--method.rho", "0"], "rho is wrong: input should be greater than or equal to 1. Got 0"),
        (["train", "moco_v2.cifar10", "--data.batch-size", "100"], "multiple of method.shuffle_block, 512"),
        (["train", "--resume", "/nowhere"], "config.json"),
        (["train", "--resume", "/nowhere", "--seed", "3"], "takes no others"),
        (["trian"], "Did you mean 'train'"),
        (["extract"], "must be given a run folder"),
    ],
)
def test_mistakes_end_with_one_sentence_and_exit_code_2(flags, message, capsys):
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("flags", "meant"),
    [
        (["train", "vicreg.video", "--data.pth", "x"], "--data.path"),
        (["train", "vicreg.video", "--no-reprot"], "Did you mean --no-report?"),
        (["train", "--resmue", "runs/first"], "Did you mean --resume?"),
        (["views", "vicreg.video", "--recrods", "4"], "Did you mean --records?"),
        (["views", "vicreg.video", "--galery"], "Did you mean --gallery?"),
        (["extract", "runs/first", "--out", "x", "--jsno", "y"], "Did you mean --json?"),
        (["report", "runs/first", "--jsn", "y"], "Did you mean --json?"),
        (["demo", "--jsn", "y"], "Did you mean --json?"),
        (["study", "what_prevents_collapse", "--jsn", "y"], "Did you mean --json?"),
        (["spectrum", "a", "--jsn", "y"], "--json"),
        (["scan", "a", "--jsn", "y"], "--json"),
        (["inspect", "a", "--jsn", "y"], "--json"),
        (["methods", "--jsn", "y"], "--json"),
        (["recipes", "--jsn", "y"], "--json"),
        (["evaluate", "knn", "a", "b", "--jsn", "y"], "--json"),
    ],
)
def test_an_unknown_flag_names_the_nearest_be_it_a_setting_or_the_command_s_own(flags, meant, capsys):
    try:
        code = main(flags)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert meant in capsys.readouterr().err


def test_crop_larger_than_canvas_and_batch_larger_than_data(video_folder, small_flags, tmp_path, capsys):
    base = ["train", "vicreg.video", "--data.path", str(video_folder), "--out", str(tmp_path / "x"), *small_flags]
    assert main([*base, "--method.augmentation.size-pixels", "64"]) == 2
    assert "must not be larger than the canvas" in capsys.readouterr().err
    assert main([*base, "--data.batch-size", "64"]) == 2
    assert "64" in capsys.readouterr().err
    assert not (tmp_path / "x" / "checkpoint.pt").exists()


def test_bad_files_are_counted_named_and_passed_over(video_folder, small_flags, tmp_path, capsys):
    mixed = tmp_path / "mixed"
    shutil.copytree(video_folder, mixed)
    (mixed / "left" / "zero.mp4").write_bytes(b"")
    (mixed / "right" / "text.mp4").write_text("not a video")
    flags = ["--data.path", str(mixed), "--out", str(tmp_path / "run"), "--epochs", "4", *small_flags]
    assert main(["train", "vicreg.video", *flags]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "skipped.jsonl").read_text().splitlines()]
    assert {row["record"] for row in rows} == {"left/zero.mp4", "right/text.mp4"}
    assert all(row["reason"] for row in rows)
    assert "2 files could not be read" in capsys.readouterr().out


def test_only_bad_files_are_one_clear_error(small_flags, tmp_path, capsys):
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes(b"")
    flags = ["--data.path", str(tmp_path), "--out", str(tmp_path / "run"), *small_flags]
    assert main(["train", "vicreg.video", *flags]) == 2
    error = capsys.readouterr().err
    assert "could be read" in error
    assert "fullrank scan" in error


def test_a_checkpoint_of_another_method_is_refused(run, tmp_path, capsys):
    shutil.copytree(run / "run", tmp_path / "run")
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    other = json.loads((run / "run" / "config.json").read_text()) | {"method": "simclr"}
    other["settings"]["method"] = {"rho": 2}
    (tmp_path / "run" / "config.json").write_text(json.dumps(other))
    assert record["method"] == "vicreg"
    assert main(["extract", str(tmp_path / "run"), "--out", str(tmp_path / "f")]) == 2
    assert "vicreg" in capsys.readouterr().err


@pytest.fixture
def waits(monkeypatch):
    """This is the second process of its machine; what it had said by the time it began to wait."""
    said = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(train.time, "sleep", said.append)
    return said


def test_the_second_process_leaves_a_mistake_to_the_first_and_speaks_when_none_ended_it(waits, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "vicreg.video", "--data.pth", "x"])
    assert ended.value.code == 2
    assert waits == [train.GRACE_SECONDS]
    assert "--data.path" in capsys.readouterr().err
    assert main(["train", "vicreg.vido"]) == 2
    assert waits == [train.GRACE_SECONDS] * 2


def test_while_the_second_process_waits_it_has_said_nothing(monkeypatch, capsys):
    def look(seconds):
        assert capsys.readouterr() == ("", "")

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(train.time, "sleep", look)
    with pytest.raises(SystemExit):
        main(["train", "vicreg.video", "--data.pth", "x"])
    capsys.readouterr()
    assert main(["train", "vicreg.vido"]) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["train", "vicreg.video", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr() == ("", "")
