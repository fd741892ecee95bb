"""Names, numbers and dates are planted wherever hospital files carry them; no byte that is written may hold one."""

import base64
import csv
import gzip
import hashlib
import json
import logging
import re
import shutil
import sqlite3
import stat
import struct
import sys
import tempfile
import zipfile
import zlib
from collections import defaultdict
from datetime import date
from pathlib import Path
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from monai_wsss import cli
from monai_wsss.data import PreparedDataset, Pseudonyms
from monai_wsss.data.phantoms.dicom_files import Storage, write_series

BUNDLE = Path(__file__).parents[2] / "bundles" / "brain_mri_lesion_mixed_unet"
AXIAL = np.diag([-4.0, -4.0, 6.0, 1.0])  # mm
SPLITS = ["train", "train", "train", "train", "val", "val", "test", "test"]
SETTINGS = (
    "pixel_spacing=4.0 size=[32,32] classifier_name=resnet18 classify_epochs=1 classify_batch_size=8 scales=[1.0] "
    "channels=[4,4,8,8] train_epochs=1 train_batch_size=8 infer_gate_probability=0.0"
).split()

# Words of their own, so that whatever turns up was planted; each patient has its own number in all of them.
PHYSICIAN, INSTITUTION, STATION, OPERATOR = "Qphysician", "Qklinikum", "Qstation", "Qoperator"
PRIVATE, COMMENT, ADDRESS, PHONE, AE_TITLE = "Qprivate", "Qcomment", "Qstreet", "5550177", "QAETITLE"
SITE, GROUP, FREE_TEXT, HEADER_TEXT, ROOT = "Qsite", "Qfamily", "Qanamnesis", "Qniftitext", "Qinputroot"
WORDS = [PHYSICIAN, INSTITUTION, STATION, OPERATOR, PRIVATE, COMMENT, ADDRESS, PHONE, AE_TITLE, SITE, GROUP, FREE_TEXT]
WORDS += [HEADER_TEXT, "Qsurname", "Qgiven", "QPID", "QACC", "1.2.826.0.1.77.", "Qfolder", "Qbroken", "Qlostfile"]


class Person:
    """What a hospital knows of a patient."""

    def __init__(self, number):
        self.number = number
        self.surname, self.given = f"Qsurname{number:02d}", f"Qgiven{number:02d}"
        self.id, self.accession = f"QPID77{number:02d}", f"QACC55{number:02d}"
        self.birth, self.study_date = date(1931, 5, 10 + number), date(2017, 9, 10 + number)
        self.study, self.series = f"1.2.826.0.1.77.{number}", f"1.2.826.0.1.77.{number}.1"

    def tags(self, **more):
        return {
            "Modality": "MR",
            "PatientName": f"{self.surname}^{self.given}",
            "PatientID": self.id,
            "PatientBirthDate": f"{self.birth:%Y%m%d}",
            "PatientAddress": f"{ADDRESS} 7",
            "PatientTelephoneNumbers": PHONE,
            "PatientComments": f"{COMMENT} of {self.surname}",
            "StudyDate": f"{self.study_date:%Y%m%d}",
            "SeriesDate": f"{self.study_date:%Y%m%d}",
            "AccessionNumber": self.accession,
            "ReferringPhysicianName": f"{PHYSICIAN}^Ref",
            "OperatorsName": OPERATOR,
            "InstitutionName": INSTITUTION,
            "StationName": STATION,
            "RetrieveAETitle": AE_TITLE,
            "StudyInstanceUID": self.study,
            "SeriesInstanceUID": self.series,
            "SeriesNumber": 1,
            "SeriesDescription": "FLAIR",
            "StudyDescription": f"Head {self.surname} {self.study_date:%d.%m.%Y}",
            "ImageComments": f"{COMMENT} {self.given}",
        } | more


def written_dates(day):
    return [f"{day:{form}}" for form in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y")]


def planted(people):
    """Every string that must not turn up."""
    found = list(WORDS)
    for person in people:
        found += [*written_dates(person.birth), *written_dates(person.study_date)]
    return sorted(set(found))


def head(seed, lesion, depth=4):
    rng = np.random.default_rng(seed)
    volume = np.zeros((28, 32, depth))
    volume[4:24, 4:28] = rng.uniform(80, 120, (20, 24, depth))
    x, y = rng.integers(6, 16, 2)
    mask = np.zeros(volume.shape, np.uint8)
    if lesion:
        mask[x : x + 6, y : y + 6] = 1
    return np.rint(volume + 100 * mask), mask


def write_nifti(path, array, person):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, AXIAL)
    image.header["descrip"] = f"{HEADER_TEXT} {person.surname}".encode()
    image.header["aux_file"], image.header["intent_name"] = HEADER_TEXT.encode(), person.surname.encode()
    image.header["db_name"] = person.id.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", f"{HEADER_TEXT} {person.given}".encode()))
    nib.save(image, path)


def write_hospital(root):
    """The input of a clinic: `images`, `masks`, `new` (studies of later), labels.csv; returns everybody in it."""
    people = [Person(number) for number in range(1, 13)]
    rows = []
    for person, split in zip(people, SPLITS, strict=False):
        lesion = person.number % 2
        array, mask = head(person.number, lesion)
        folder = root / "images" / f"Qfolder_{person.surname}_{person.given}_{person.birth:%Y-%m-%d}"
        if person.number == 2:  # one came as NIfTI, named by its accession number
            write_nifti(folder / f"{person.accession}.nii.gz", array.astype(np.int16), person)
        else:
            series = folder / f"{person.study_date:%Y%m%d}_{person.accession}"
            write_series(series, array, AXIAL, person.tags(), Storage(private=PRIVATE))
            t1 = person.tags(SeriesInstanceUID=f"{person.series}9", SeriesNumber=2, SeriesDescription="T1")
            if person.number == 1:  # a second series: the row of the study is ambiguous without a rule
                write_series(series / t1["SeriesInstanceUID"], array, AXIAL, t1, Storage(private=PRIVATE))
        write_nifti(root / "masks" / f"{person.accession}.nii.gz", mask, person)
        text = f"{person.given} {person.surname} fell from a ladder, {FREE_TEXT}; call {PHONE}"
        rows.append([person, split, "yes" if lesion else "no", text])
    # a contradiction, a study without files, files without a row, a broken file, a series with a hole, clutter
    rows.append([people[1], "train", "yes", FREE_TEXT])
    rows.append([people[8], "train", "no", f"images were lost, {FREE_TEXT}"])
    odd = people[9]
    odd_folder = root / "images" / f"Qfolder_{odd.surname}"
    write_series(odd_folder / odd.study, head(10, 1)[0], AXIAL, odd.tags(), Storage(private=PRIVATE))
    broken = people[10]
    (file, *rest) = write_series(root / "images" / "Qbroken" / broken.id, head(11, 1)[0], AXIAL, broken.tags())
    file.file.write_bytes(file.file.read_bytes()[:-900])
    rows.append([broken, "train", "yes", FREE_TEXT])
    rest[0].file.rename(rest[0].file.with_name(f"{broken.surname}_{broken.birth:%Y%m%d}"))
    (root / "images" / f"Qbroken_{broken.surname}.nii.gz").write_bytes(b"no volume")
    (root / "images" / "Qlostfile.txt").write_text(f"{broken.surname} was here")
    with (root / "labels.csv").open("w", newline="", encoding="utf-8-sig") as stream:
        table = csv.writer(stream, delimiter=";")
        header = ["PatientID", "Name", "Birth date", "StudyDate", "AccessionNumber", "split", "lesion", "Remarks"]
        table.writerow([*header, "Site", "Family"])
        for person, split, lesion, text in rows:
            name, birth, day = f"{person.surname}, {person.given}", f"{person.birth:%d.%m.%Y}", person.study_date
            family = f"{GROUP}{person.number}"
            table.writerow([person.id, name, birth, day, person.accession, split, lesion, text, SITE, family])
    new = people[11]  # its birth date is not as DICOM wants it, and pydicom's warning would quote it
    write_series(root / "new" / new.surname, head(12, 1)[0], AXIAL, new.tags(PatientBirthDate=f"{new.birth:%Y-%m-%d}"))
    (root / "new" / f"Qbroken_{new.surname}.png").write_bytes(b"no picture")
    return people


def forms(word):
    """A string as files may hold it: encodings, percent signs, base64 at each of its three offsets."""
    found = {word.encode(code).lower() for code in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")}
    found |= {quote(word, safe="").encode().lower(), word.encode().hex().encode()}
    for offset in range(3):
        middle = base64.b64encode(b"\0" * offset + word.encode())[2 + offset : -4]
        found |= {middle.lower()} if len(middle) > 7 else set()
    return found


def plain_hashes(names):
    """Hashes without a key, which anybody who knows a name could make."""
    kinds = (hashlib.sha256, hashlib.sha1, hashlib.md5)
    return {kind(name.encode()).hexdigest()[:12].encode() for kind in kinds for name in names}


def contents(path):
    """All that one file holds, unpacked."""
    raw = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # PyTorch's numbered members are numbers alone: tens of megabytes
            names = [name for name in archive.namelist() if not re.search(r"/data/\d+$", name)]
            return b"\n".join(name.encode() + archive.read(name) for name in [*names])
    if raw[:2] == b"\x1f\x8b":
        return raw[:100] + gzip.decompress(raw)  # its header may hold a file name
    if raw[:15] == b"SQLite format 3":
        with sqlite3.connect(path) as base:
            return raw + "\n".join(base.iterdump()).encode()
    if raw[:8] == b"\x89PNG\r\n\x1a\n":
        return raw + b"\n".join(png_texts(raw))
    return raw


def png_texts(raw):
    """Text chunks, unpacked where they are compressed."""
    place = 8
    while place < len(raw):
        length, kind = struct.unpack(">I4s", raw[place : place + 8])
        data = raw[place + 8 : place + 8 + length]
        if kind in (b"zTXt", b"iTXt"):
            packed = data.split(b"\0", 1)[1].lstrip(b"\0\1")
            try:
                data += zlib.decompress(packed)
            except zlib.error:
                pass
        if kind != b"IDAT":
            yield data
        place += 12 + length


def trie(patterns):
    """A regular expression of many strings, sharing their beginnings: fast, unlike a list of alternatives."""
    if b"" in patterns:
        return b""
    tails = defaultdict(set)
    for pattern in patterns:
        tails[pattern[:1]].add(pattern[1:])
    return b"(?:" + b"|".join(re.escape(first) + trie(rest) for first, rest in sorted(tails.items())) + b")"


def search(folder, words):
    """(file, word) of every word in a name or in a byte below a folder."""
    patterns = {word: forms(word) for word in words}
    every = re.compile(trie(set().union(*patterns.values())), re.DOTALL)
    hits = set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        text = (name.encode() + b"\n" + (contents(path) if path.is_file() else b"")).lower()
        if every.search(text):
            hits |= {(name, word) for word, found in patterns.items() if any(form in text for form in found)}
    return hits


def test_the_search_finds_what_is_hidden(tmp_path):
    word, text = "Qsurname07", "name: QSURNAME07, "
    (tmp_path / "Folder_qsurname07").mkdir()
    for code in ("utf-8", "utf-16", "latin-1", "utf-32"):
        (tmp_path / code).write_bytes(b"\xff\x00" + text.encode(code))
    (tmp_path / "packed").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "base64").write_bytes(b"".join(base64.b64encode(b"x" * n + word.encode() + b"yz") for n in range(3)))
    (tmp_path / "hex").write_text(word.encode().hex())
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner", text)
    with sqlite3.connect(tmp_path / "base.db") as base:
        base.execute("create table t (a text)")
        base.execute("insert into t values (?)", (text,))
    np.save(tmp_path / "array.npy", np.array([text]))
    (tmp_path / "plain").write_text("nothing")
    info = PngInfo()
    info.add_text("Comment", text, zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "picture.png", pnginfo=info)
    found = {name for name, _ in search(tmp_path, [word, "Qother"])}
    assert found == {path.name for path in tmp_path.iterdir()} - {"plain"}


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs `monai-wsss ...`; returns the exit code and all that was printed, by libraries and processes too."""
    monkeypatch.setattr(cli, "set_up_logging", lambda: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["monai-wsss", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, "".join(capfd.readouterr())

    return run


def test_nothing_that_is_written_or_said_tells_of_anybody(command, tmp_path, monkeypatch, caplog, recwarn):
    caplog.set_level(logging.INFO)
    root, out = tmp_path / ROOT, tmp_path / "out"
    people = write_hospital(root)
    caplog.clear(), recwarn.clear()
    words = planted(people)
    (out / "temporary").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(out / "temporary"))
    monkeypatch.chdir(next((root / "images").glob("Qfolder*")))  # MLflow would note the working directory
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    said, data, run = [], out / "data", out / "run"

    def call(code, *arguments):
        ended, text = command(*arguments)
        said.append(text)
        assert ended == code, text
        return text

    read = ["prepare", root / "images", "--labels", root / "labels.csv", "--out", data]
    options = ["--masks", root / "masks", "--group-column", "Family", "--classes", "lesion"]
    assert "--series" in call(2, *read, *options)  # one row is ambiguous
    rule = ["--series", "SeriesDescription!=T1"]
    first = call(1, *read, *options, *rule)
    assert "8 cases" in first and "contradiction" in first and "2 rows without a file" in first, first
    assert call(1, *read, *options, *rule) == first  # nothing is read twice, and the report is the same
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    call(0, "run", BUNDLE, "--data", data, "--out", run, "--device", "cpu", *settings)
    call(1, "infer", run, root / "new", "--out", out / "new", "--data", data, "--device", "cpu")
    call(1, "infer", run, root / "new", "--out", out / "other", "--device", "cpu")
    scores = ["--truth", root / "masks", "--out", out / "scores.json", "--data", data]
    call(1, "evaluate", "--pred", run / "predictions", *scores)  # masks by accession number; six have no prediction
    counts = json.loads((out / "scores.json").read_text())["counts"]
    assert (counts["cases"], counts["missing"], counts["unmatched"], counts["skipped"]) == (8, 6, 0, 0)
    call(0, "export", run, "--out", out / "exported")
    call(1, "scan", root / "images", "--json", out / "scan.json", "--data", data)
    copied = shutil.copytree(data, out / "shrunken")
    assert "in training" in call(0, "forget", people[0].id, "--data", copied, "--runs", run)
    call(2, "forget", "Qsurname99", "--data", copied)
    call(
        2, "infer", run, root / "images", "--out", out / "refused", "--data", data, "--series", "SeriesDescription~pet"
    )
    call(1, *read, *options, *rule, "--out", copied)  # the withdrawn patient does not come back

    names = Pseudonyms.of_prepared(data)
    patients = {case.patient for case in PreparedDataset.read(data).cases()}
    assert {names.patient(person.id) for person in people[:8]} == patients  # it did run on the planted ones
    assert names.patient(people[0].id) not in {case.patient for case in PreparedDataset.read(copied).cases()}
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # and wrote nothing there
    for key in (data / "key", out / "other.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not (out / "new.key").exists() and not (out / "refused.key").exists()

    # The search finds everything where it was planted, and nothing of it anywhere else.
    assert {word for _, word in search(root, words)} >= set(WORDS)
    assert search(out, [*words, ROOT]) == set()
    known = [text for person in people for text in (person.id, person.accession, person.study, person.series)]
    known += [f"{person.surname}^{person.given}" for person in people]
    hashes = plain_hashes(known)
    for path in out.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".csv", ".txt"):
            assert not [form for form in hashes if form in path.read_bytes()], path
        assert not [form for form in hashes if form in path.name.encode()], path
    records = [str(vars(record)) for record in caplog.records] + [str(warning.message) for warning in recwarn]
    printed = "\n".join([*said, caplog.text, *records]).lower()
    printed = printed.replace("qsurname99", "")  # Typer may repeat what was typed
    for word in words:
        assert word.lower() not in printed, [line for line in printed.splitlines() if word.lower() in line][:3]
