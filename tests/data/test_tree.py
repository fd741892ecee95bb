from monai_wsss.data.tree import walk_files


def names(root, **options):
    return [path.relative_to(root).as_posix() for path in walk_files(root, **options)]


def test_visible_files(tmp_path):
    for name in ("b/2", "b/.hidden", ".git/1", "a/x/1", "0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(names(tmp_path)) == ["0", "a/x/1", "b/2"]
    assert sorted(names(tmp_path, exclude=[(tmp_path / "a").resolve(), (tmp_path / "0").resolve()])) == ["b/2"]


def test_a_folder_is_entered_once_by_its_real_path(tmp_path):
    (tmp_path / "z").mkdir()
    (tmp_path / "z/1").touch()
    (tmp_path / "a").symlink_to(tmp_path / "z", target_is_directory=True)
    (tmp_path / "z/loop").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path) == ["z/1"]


def test_links_out_of_the_tree_are_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store/1").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/link").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data/gone").symlink_to(tmp_path / "none")
    assert names(tmp_path / "data") == ["link/1"]
