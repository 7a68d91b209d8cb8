"""Trackers: each epoch's figures are in them as they are in history.jsonl, and a run that ended badly says so."""

import pytest

from fastnn.errors import MissingExtraError, OutputError
from fastnn.logs import LOGS, Log, MLflow, TensorBoard

SETTINGS = {"training.epochs": 2, "network.hidden": (3,)}
MORE = SETTINGS | {"training.epochs": 3}
RECORDS = [
    {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": None, "learning_rate": 0.125},
    {"epoch": 2, "loss": 0.25, "accuracy": 0.875, "val_loss": 0.125, "val_accuracy": None, "learning_rate": 0.0625},
]
SUMMARY = {"test_loss": 0.375, "test_accuracy": 0.5, "best_epoch": 2}


def written(kind, folder, summary=SUMMARY):
    log = kind(folder, SETTINGS)
    for record in RECORDS:
        log.on_epoch_end(None, record)
    log.close(summary)


def test_tensorboard_has_each_figure_of_each_epoch(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c  # noqa: F401 - the format below is this module's

    written(TensorBoard, tmp_path)
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), {}
    while content:  # length (8 bytes), its checksum (4), the event, its checksum (4)
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[value.tag, event.step] = value.simple_value
        content = content[16 + length :]
    for record in RECORDS:
        assert found["loss/training", record["epoch"]] == record["loss"]
        assert found["loss/validation", record["epoch"]] == record["val_loss"]
        assert found["learning_rate/training", record["epoch"]] == record["learning_rate"]
    assert ("accuracy/validation", 1) not in found
    assert found["test/accuracy", 2] == 0.5


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, of the packages that it stands on
def test_mlflow_has_settings_figures_and_the_end(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    written(MLflow, tmp_path / "one")
    written(MLflow, tmp_path / "two", None)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fastnn")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"one", "two"}
    assert [runs[name].info.status for name in ("one", "two")] == ["FINISHED", "FAILED"]
    one = runs["one"]
    assert one.data.params == {"training.epochs": "2", "network.hidden": "(3,)"}
    assert one.data.metrics["test_loss"] == 0.375
    points = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == [(1, 0.5), (2, 0.25)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own, as above
def test_a_resumed_run_goes_on_in_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / 'it\'s "one"'
    written(MLflow, folder, None)  # an attempt whose folder was removed, and then begun anew
    for settings, records, summary in ((SETTINGS, RECORDS[:1], None), (MORE, RECORDS[1:], SUMMARY)):
        log = MLflow(folder, settings, resumed=settings is MORE)
        for record in records:
            log.on_epoch_end(None, record)
        log.close(summary)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run, attempt = client.search_runs([client.get_experiment_by_name("fastnn").experiment_id])  # the latest first
    assert (run.info.status, attempt.info.status) == ("FINISHED", "FAILED")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    # MLflow lets no parameter change: the raised number of epochs is a tag
    assert run.data.params["training.epochs"] == "2"
    assert run.data.tags["resumed.training.epochs"] == "3"
    MLflow(folder, SETTINGS, resumed=True)
    again = client.get_run(run.info.run_id)
    assert (again.info.status, again.data.tags["resumed.training.epochs"]) == ("RUNNING", "2")
    MLflow(tmp_path / "other", SETTINGS, resumed=True)  # of which no run is known
    assert len(client.search_runs([run.info.experiment_id])) == 3


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_without_the_package_the_command_is_named(tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fastnn-cpu\[log\]'"):
        LOGS[name](tmp_path, SETTINGS, False)


def test_a_tracker_that_fails_is_told_of_once_and_ends_nothing(tmp_path, capsys):
    class Full(Log):
        def write(self, figures, epoch):
            raise OSError("no space\nleft")

        def end(self, summary):
            raise AssertionError("not asked any more")

    written(Full, tmp_path)
    assert capsys.readouterr().err == "the log Full failed, and is left: no space left\n"


def test_a_tracker_that_cannot_be_opened_is_one_line(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the log tensorboard cannot be opened: "):
        TensorBoard(tmp_path / "file" / "run", SETTINGS)
