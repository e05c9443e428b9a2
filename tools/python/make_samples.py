"""Take the first 24 test images of each class, by name, out of the CIFAR-10 archive.

    python tools/python/make_samples.py cifar10-images.tar.gz models/samples

The archive holds `test/<class>/NNNN.jpg`; the files land in `models/samples/<class>/`.
"""

import sys
import tarfile
from collections import Counter
from pathlib import Path

PER_CLASS = 24


def main(archive, out_dir):
    taken = Counter()
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.isfile() and m.name.startswith("test/")]
        for member in sorted(members, key=lambda m: m.name):
            _, label, name = member.name.split("/")
            if taken[label] < PER_CLASS:
                taken[label] += 1
                folder = Path(out_dir) / label
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(tar.extractfile(member).read())
    print(f"{sum(taken.values())} images of {len(taken)} classes in {out_dir}")


if __name__ == "__main__":
    main(*sys.argv[1:])
