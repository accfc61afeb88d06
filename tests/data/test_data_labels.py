from pathlib import Path

import pytest

from scansynth.data.labels.lesions import Box, Lesion
from scansynth.data.labels.read import read_labels
from scansynth.errors import CohortError
from scansynth.ledger import Role


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(CohortError) as caught:
        read_labels(path, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_column_arrives(tmp_path: Path) -> None:
    text = (
        "\ufeffPath,Label,patient_id,mask,site,role,Diameter (mm)\r\n"
        '"a/b,c.dcm",nodule,P1,m/1.png,North,Train,7.5\r\n'
        "\r\n"
        "./x\\y,clear,,,,,\r\n"
    )
    first, second = read_labels(write(tmp_path, text)).rows
    assert (first.row, first.path, first.label, first.patient_id) == (2, "a/b,c.dcm", "nodule", "P1")
    assert (first.lesions, first.role) == ((Lesion(2, "m/1.png"),), Role.TRAIN)
    assert first.attributes == {"site": "North", "diameter_mm": "7.5"}
    assert (second.row, second.path, second.patient_id, second.role, second.attributes) == (4, "x/y", None, None, {})


def test_box_columns_make_a_box_only_together(tmp_path: Path) -> None:
    both = read_labels(write(tmp_path, "path,label,x,y,width,height\na,l,1,2,3.5,4\nb,l,,,,\n"))
    assert both.rows[0].lesions == (Lesion(2, box=Box(1, 2, 4.5, 6)),)
    assert both.rows[1].lesions == ()
    assert both.masked
    alone = read_labels(write(tmp_path, "path,label,x\na,l,1\n"))
    assert alone.rows[0].lesions == ()
    assert alone.rows[0].attributes == {"x": "1"}
    assert not alone.masked


@pytest.mark.parametrize(
    ("columns", "cells", "box"),
    [
        ("x,y,width,height", "3,4,5,6", Box(3, 4, 8, 10)),
        ("X,Y,W,H", "3,4,5,6", Box(3, 4, 8, 10)),
        ("x_min,y_min,x_max,y_max", "3,4,8,10", Box(3, 4, 8, 10)),
        ("row_min,row_max,col_min,col_max", "4,10,3,8", Box(3, 4, 8, 10)),
        ("min_row,min_col,max_row,max_col", "4,3,10,8", Box(3, 4, 8, 10)),
        ("minX,minY,maxX,maxY", "3,4,8,10", Box(3, 4, 8, 10)),
        ("xtl,ytl,xbr,ybr", "3,4,8,10", Box(3, 4, 8, 10)),
        ("bbox_x,bbox_y,bbox_width,bbox_height", "3,4,5,6", Box(3, 4, 8, 10)),
        ("bbox_xmin,bbox_ymin,bbox_xmax,bbox_ymax", "3,4,8,10", Box(3, 4, 8, 10)),
        ("xmin,ymin,xmax,ymax", "3,4,8,10", Box(3, 4, 8, 10)),
        ("x1,y1,x2,y2", "3,4,8,10", Box(3, 4, 8, 10)),
        ("left,top,right,bottom", "3,4,8,10", Box(3, 4, 8, 10)),
        ("x_center,y_center,width,height", "5.5,7,5,6", Box(3, 4, 8, 10)),
        ("x_center,y_center,width,height", "0.5,0.25,0.25,0.125", Box(0.375, 0.1875, 0.625, 0.3125, True)),
        ("x_min,y_min,x_max,y_max", "0.375,0.1875,0.625,0.3125", Box(0.375, 0.1875, 0.625, 0.3125, True)),
    ],
)
def test_each_form_of_a_box_gives_its_edges(tmp_path: Path, columns: str, cells: str, box: Box) -> None:
    first, second = read_labels(write(tmp_path, f"path,label,{columns}\na,nodule,{cells}\nb,clear,,,,\n")).rows
    assert first.lesions == (Lesion(2, box=box),)
    assert (first.attributes, second.lesions) == ({}, ())


def test_rows_of_one_image_are_one_image_with_each_lesion(tmp_path: Path) -> None:
    text = (
        "path,label,site,mask,x,y,width,height\n"
        "a,nodule,n,,1,2,3,4\n./a,nodule,n,,20,20,5,5\nb,clear,n,,,,,\na,nodule,n,m.png,,,,\n"
    )
    first, second = read_labels(write(tmp_path, text)).rows
    assert (first.row, first.path, second.path, second.lesions) == (2, "a", "b", ())
    assert [(lesion.row, lesion.file, lesion.box) for lesion in first.lesions] == [
        (2, None, Box(1, 2, 4, 6)),
        (3, None, Box(20, 20, 25, 25)),
        (5, "m.png", None),
    ]
    by_uid = read_labels(write(tmp_path, "sop_instance_uid,label,x,y,w,h\n1.2,b,1,2,3,4\n1.2,b,5,5,2,2\n"))
    assert len(by_uid.by_sop["1.2"].lesions) == 2


def test_uid_instead_of_path(tmp_path: Path) -> None:
    labels = read_labels(write(tmp_path, "sop_instance_uid,label\n1.2.3,nodule\n"))
    assert labels.by_sop["1.2.3"].label == "nodule"
    assert labels.by_path == {}


def test_unlabelled_needs_no_label(tmp_path: Path) -> None:
    assert read_labels(write(tmp_path, "path,patient_id\na,P\n"), unlabelled=True).rows[0].label == "unlabelled"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty"]),
        (b"PK\x03\x04\x14\0", ["workbook", "CSV"]),
        (b"\xd0\xcf\x11\xe0\xa1", ["workbook"]),
        (b"path,label\n\xff\xfe\0a,\xff\n", ["not a text file"]),
        ("path,label,x\na,b\nc,d,e,f\n", ["row 3", "4 cells"]),
        ("path,label,\na,b,\nc,d,e\n", ["column 3 has no name"]),
        ("path,label\n", ["no rows"]),
        ("file_,label\na,b\n", ["path", "sop_instance_uid"]),
        ("path,class\na,b\n", ["no column label"]),
        ("path,label,label\na,b,c\n", ["label twice"]),
        ("path,label,\na,b,c\n", ["column 3 has no name"]),
        ("path,label,a b,a-b\na,l,1,2\n", ["a_b", "rename"]),
        ("path,label\na,b\nc,d,e\n", ["row 3", "3 cells"]),
        ("path,label\na,b\nc,\n", ["row 3", "label is empty"]),
        ("path,label\na,b\n,c\n", ["row 3", "filled"]),
        ("path,label\na,b|c\n", ["row 2", "plain characters"]),
        ('path,label\na,"b\nc"\n', ["row 2", "plain characters"]),
        ("path,label\na," + "b" * 65 + "\n", ["row 2", "64"]),
        ("path,label\na,b\nc,b\na,c\n", ["row 4", "row 2"]),
        ("path,label\na/./b,b\na\\b,c\n", ["row 3", "row 2"]),
        ("sop_instance_uid,label\n1.2,b\n1.2,c\n", ["row 3", "row 2"]),
        ("sop_instance_uid,label\n1.2/../x,b\n", ["row 2", "UID"]),
        ("path,label\n../a,b\n", ["row 2", "leads out"]),
        ("path,label\na/../../b,b\n", ["row 2", "leads out"]),
        ("path,label\n/etc/passwd,b\n", ["row 2", "leads out"]),
        ("path,label\nC:\\a,b\n", ["row 2", "leads out"]),
        ("path,label\n..\\a,b\n", ["row 2", "leads out"]),
        ("path,label\na\0b,b\n", ["row 2"]),
        ("path,label,mask\na,b,../m.png\n", ["row 2", "mask"]),
        ("path,label,role\na,b,trian\n", ["row 2", "nearest is train"]),
        ("path,label,role\na,b,validation\n", ["row 2", "nearest is"]),
        ("path,label,x,y,width,height\na,b,1,2,3,\n", ["row 2", "numbers"]),
        ("path,label,x,y,width,height\na,b,1,2,0,4\n", ["row 2", "box"]),
        ("path,label,x,y,width,height\na,b,nan,2,1,4\n", ["row 2", "numbers"]),
        ("path,label,x,y,width,height\na,b,1,2,inf,4\n", ["row 2", "box"]),
        ("path,label,mask,x,y,width,height\na,b,m.png,1,2,3,4\n", ["row 2", "both"]),
        ("path,label,x1,y1,x2,y2\na,b,5,2,5,4\n", ["row 2", "box"]),
        ("path,label,x1,y1,x2,y2\na,b,-1,2,5,4\n", ["row 2", "box"]),
        ("path,label,x_min,y_min,x_max\na,b,1,2,5\n", ["x_max", "four columns"]),
        ("path,label,row_min,row_max,col_min\na,b,1,2,5\n", ["col_min", "four columns"]),
        ("path,label,coordX,coordY\na,b,1,2\n", ["coordX", "four columns"]),
        ("path,label,x,y,width,height,bbox_x\na,b,1,2,3,4,1\n", ["two forms"]),
        ('path,label,bbox\na,b,"[1, 2, 3, 4]"\n', ["bbox", "x_min"]),
        ("path,label,x,y,width,height,x1,y1,x2,y2\na,b,1,2,3,4,1,2,4,6\n", ["two forms", "remove"]),
        ("path,label,x,y,width,height\na,b,0.5,0.25,0.25,0.125\nc,d,,,,\n", ["row 2", "fractions", "in pixels"]),
        ("path,label,x,y,width,height\na,b,0,0,1,1\nc,d,0.1,0.1,0.5,0.5\n", ["row 3", "fractions"]),
        ("path,label,x,y,width,height\na,b,3,4,9,9\nc,d,0.1,0.1,0.5,0.5\n", ["row 3", "narrower than a pixel"]),
        ("path,label,x1,y1,x2,y2\na,b,3,4,9,9\nc,d,0.1,0.1,0.5,0.5\n", ["row 3", "narrower", "x1, y1, x2 and y2"]),
        ("path,label,x,y,width,height\na,b,1,2,3,4\na,c,1,2,5,5\n", ["row 3", "row 2", "label"]),
        ("path,label,patient_id,x,y,w,h\na,b,P,1,2,3,4\na,b,Q,1,2,5,5\n", ["row 3", "row 2", "patient_id"]),
        ("path,label,site,x,y,w,h\na,b,n,1,2,3,4\na,b,s,1,2,5,5\n", ["row 3", "row 2", "site", "box or the mask"]),
        ('path,label\n"a,b\n', ["CSV"]),
        ("path,label\n" + "a" * 200_000 + ",b\n", ["CSV"]),
    ],
)
def test_refusals_say_where_and_what(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    message = refusal(write(tmp_path, text))
    assert all(word in message for word in words), message


def labels_of(path: Path, **options: object) -> list[str]:
    return [row.label for row in read_labels(path, **options).rows]  # type: ignore[arg-type]


def test_labels_in_two_spellings_are_one_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na,nodule\nb,Nodule\nc,no dule\nd,clear\ne,nodule\n")
    found = read_labels(path)
    assert labels_of(path) == ["nodule", "nodule", "nodule", "clear", "nodule"]
    (note,) = found.notes
    assert "nodule, Nodule, no dule" in note
    assert "2 rows" in note
    # the spelling of study.toml wins over the commonest, and two that it knows stay two
    assert labels_of(path, known=("Nodule", "clear")) == ["Nodule", "Nodule", "Nodule", "clear", "Nodule"]
    apart = read_labels(path, known=("Nodule", "nodule", "no dule", "clear"))
    assert (len({row.label for row in apart.rows}), apart.notes) == (4, ())
    composed, decomposed = "l\u00e9sion", "le\u0301sion"
    assert set(labels_of(write(tmp_path, f"path,label\na,{composed}\nb,{decomposed}\n"))) == {composed}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "there is no" in refusal(tmp_path / "labels.csv")
    assert "there is no" in refusal(tmp_path)


def test_unknown_label_does_not_repeat_the_cell(tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\na,clear\nb,John Doe\n")
    message = refusal(path, known=("nodule", "clear"))
    assert "row 3" in message
    assert "clear, nodule" in message
    assert "Doe" not in message
    assert read_labels(path).rows[1].label == "John Doe"
