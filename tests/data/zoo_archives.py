"""The zoo's archives: each with the fate of its members, or with a part of the sentence that refuses it whole."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import types
import typing
import zipfile

from kinds_of_files import coded, picture

PHOTOS = {f"set/{'cat' if i % 2 else 'dog'}/{i}.jpg": coded(picture(900 + i), quality=75) for i in range(6)}
NAMES = list(PHOTOS)
LINKS = {"symbolic link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE,
         "block device": tarfile.BLKTYPE, "pipe": tarfile.FIFOTYPE, "unknown type": b"Z"}  # fmt: skip


class Case(typing.NamedTuple):
    """content: the archive; fates: {member's path: code, "" where it is used} beside PHOTOS, which are used unless it
    names them; refused: a part of the sentence, "" where the archive is taken."""

    content: bytes
    fates: typing.Mapping[str, str | None] = types.MappingProxyType({})
    refused: str = ""


def broken(content: bytes, sentence: str = "no archive that can be read to its end") -> Case:
    return Case(content, {}, sentence)


def as_zip(photos=PHOTOS, method=zipfile.ZIP_STORED, more=(), **options) -> bytes:
    """more: (name or ZipInfo, content) of further members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method, **options) as archive:
        for name, content in [*photos.items(), *more]:
            archive.writestr(name, content)
    return out.getvalue()


def as_tar(photos=PHOTOS, more=(), format=tarfile.GNU_FORMAT) -> bytes:
    """more: (TarInfo, content) of further members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in photos.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info, content in more:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def flipped(content: bytes, at: int, bit: int = 1) -> bytes:
    return changed(content, at, bytes([content[at] ^ bit]))


def headers(archive: bytes, name: str) -> tuple[int, int]:
    """Where a zip's local header and its directory's header of a member begin."""
    first = archive.index(name.encode())
    return first - 30, archive.index(name.encode(), archive.index(b"PK\1\2")) - 46


def symbolic_link(path: str, content: bytes) -> tuple:
    info = zipfile.ZipInfo(path)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, content


def zips() -> dict[str, Case]:
    plain, deflated = as_zip(), as_zip(method=zipfile.ZIP_DEFLATED)
    name = NAMES[2]
    local, central = headers(plain, name)
    end = plain.index(b"PK\5\6")
    extra = coded(picture(950))
    streamed = io.BytesIO()
    with zipfile.ZipFile(Unseekable(streamed), "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in PHOTOS.items():
            archive.writestr(key, content)
    with_64 = io.BytesIO()
    with zipfile.ZipFile(with_64, "w") as archive:
        for key, content in PHOTOS.items():
            with archive.open(key, "w", force_zip64=True) as member:
                member.write(content)
    data_at = local + 30 + len(name)
    bomb = as_zip(more=[("bomb.jpg", bytes(50 * 2**20))], method=zipfile.ZIP_DEFLATED)
    size_at = headers(bomb, "bomb.jpg")[1] + 24
    strange = {"/absolute.jpg": "absolute", "../climbs.jpg": "climbing", "a/../../climbs.jpg": "climbing",
               "C:\\windows.jpg": "absolute", "\\\\server\\x.jpg": "absolute"}  # fmt: skip
    odd = {
        "Icon\r": "Icon\\r",
        "new\nline.jpg": "new\\nline.jpg",
        "日本.jpg": "日本.jpg",
        "a,b.jpg": "a,b.jpg",
    }
    return {
        "stored.zip": Case(plain),
        "deflated.zip": Case(deflated),
        "zip64.zip": Case(with_64.getvalue()),
        "streamed.zip": Case(streamed.getvalue()),
        "self-extracting.zip": Case(b"#!/bin/sh\nexit\n" + plain),
        "comment.zip": Case(plain[:-2] + struct.pack("<H", 11) + b"hello world"),
        "odd names.zip": Case(as_zip(more=[(key, coded(picture(960 + i))) for i, key in enumerate(odd)]),
                              dict.fromkeys(odd.values(), "")),
        "outside.zip": Case(as_zip(more=[(key, extra) for key in strange]), strange),
        "symbolic link.zip": Case(as_zip(more=[symbolic_link("link.jpg", b"/etc/passwd")]), {"link.jpg": "link-member"}),
        "same name twice.zip": Case(as_zip(more=[(name, extra)]), {name: "replaced"}),
        "folder with bytes.zip": Case(as_zip(more=[("set/x.jpg/", extra)]), {"set/x.jpg/": "irregular-member"}),
        "zip in zip.zip": Case(as_zip(more=[("inner.zip", plain)]), {"inner.zip": "no-image"}),
        "bzip2.zip": Case(as_zip(method=zipfile.ZIP_BZIP2), dict.fromkeys(NAMES, "compression")),
        "lzma.zip": Case(as_zip(method=zipfile.ZIP_LZMA), dict.fromkeys(NAMES, "compression")),
        "encrypted.zip": Case(flipped(flipped(plain, local + 6), central + 8), {name: "encrypted"}),
        "a flipped bit.zip": Case(flipped(plain, data_at + 300), {name: "unreadable"}),
        "a flipped bit, deflated.zip": Case(flipped(deflated, headers(deflated, name)[0] + 30 + len(name) + 100),
                                            {name: "unreadable"}),
        "a wrong checksum.zip": Case(flipped(plain, central + 16), {name: "unreadable"}),
        "another size.zip": Case(flipped(plain, central + 24), {name: "unreadable"}),
        "local header gone.zip": Case(changed(plain, local, b"\0\0\0\0"), {name: "unreadable"}),
        "local name changed.zip": Case(flipped(plain, local + 31), {name: "unreadable"}),
        "name in the directory changed.zip": Case(
            changed(plain, central + 46, b"Set"), {name: None, "S" + name[1:]: "unreadable"}),
        "one member sent to another.zip": Case(
            changed(plain, central + 42, plain[headers(plain, NAMES[0])[1] + 42 :][:4]), {name: "unreadable"}),
        "a bomb.zip": Case(bomb, {"bomb.jpg": "no-image"}),
        "a bomb that says less.zip": Case(changed(bomb, size_at, struct.pack("<I", 5000)), {"bomb.jpg": "unreadable"}),
        "a bomb that says more.zip": Case(changed(bomb, size_at, b"\xfe\xff\xff\xff"), {"bomb.jpg": "unreadable"}),
        "one fewer in the end's count.zip": broken(changed(plain, end + 10, b"\5")),
        "one fewer on this volume.zip": broken(changed(plain, end + 8, b"\5")),
        "directory cut by one.zip": broken(one_less(plain)),
        "zeros over the end's numbers.zip": broken(changed(plain, end + 4, bytes(16))),
        "cut.zip": broken(plain[: end - 20]),
        "end only.zip": broken(plain[end:]),
        "empty file.zip": broken(b""),
        "no zip.zip": broken(b"PK\3\4 this is no zip"),
    }  # fmt: skip


def one_less(archive: bytes) -> bytes:
    """The directory begins one member later and says so; the count still names all."""
    end, start = archive.index(b"PK\5\6"), archive.index(b"PK\1\2")
    second = archive.index(b"PK\1\2", start + 4)
    return changed(archive, end + 12, struct.pack("<II", end - second, second))


class Unseekable:
    """A stream, as a zip is written to a pipe: sizes and checksums follow the members."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def member(name: str, kind=tarfile.REGTYPE, link="") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def sealed(header: bytes) -> bytes:
    """A tar's header with the checksum that its bytes have."""
    header = changed(header, 148, b" " * 8)
    return changed(header, 148, f"{sum(header):06o}\0 ".encode())


def tars() -> dict[str, Case]:
    plain, extra = as_tar(), coded(picture(951))
    third = plain.index(NAMES[2].encode())
    end = len(plain.rstrip(b"\0")) + 511 & ~511
    negative = sealed(changed(plain[third : third + 512], 124, b"\xff" * 11 + b"\x00"))
    long = "set/cat/" + "x" * 180 + ".jpg"
    inner = as_tar(more=[(member("inner.zip"), as_zip())])
    out = {f"{name}.tar": Case(as_tar(more=[(member("odd.jpg", kind, "/etc/passwd"), b"")]),
                               {"odd.jpg": "irregular-member"}) for name, kind in LINKS.items()
           if name != "unknown type"}  # fmt: skip
    return out | {
        "gnu.tar": Case(plain),
        "pax.tar": Case(as_tar(format=tarfile.PAX_FORMAT)),
        "ustar.tar": Case(as_tar(format=tarfile.USTAR_FORMAT)),
        "long name.tar": Case(as_tar(more=[(member(long), extra)]), {long: ""}),
        "long name, pax.tar": Case(as_tar(more=[(member(long), extra)], format=tarfile.PAX_FORMAT), {long: ""}),
        "odd names.tar": Case(as_tar(more=[(member("Icon\r"), extra)]), {"Icon\\r": ""}),
        "outside.tar": Case(as_tar(more=[(member("/absolute.jpg"), extra), (member("../climbs.jpg"), extra)]),
                            {"/absolute.jpg": "absolute", "../climbs.jpg": "climbing"}),
        "same name twice.tar": Case(as_tar(more=[(member(NAMES[2]), extra)]), {NAMES[2]: "replaced"}),
        "zip at its end.tar": Case(inner, {"inner.zip": "no-image"}),
        "one zero block.tar": Case(plain[: end + 512]),
        "a flipped bit in a photograph.tar": Case(flipped(plain, third + 512, 0x80), {NAMES[2]: "no-image"}),
        "a flipped bit in a header.tar": broken(flipped(plain, third + 3), "2 files were listed"),
        "a negative size.tar": broken(changed(plain, third, negative), "negative size"),
        "no end marker.tar": broken(plain[:end], "end"),
        "cut in a photograph.tar": broken(plain[: third + 900]),
        "cut in a header.tar": broken(plain[: third + 100]),
        "cut between members.tar": broken(plain[:third]),
        "zeros over a header.tar": broken(changed(plain, third, bytes(512))),
        "zeros over two headers.tar": broken(changed(plain, third, bytes(4096))),
        "another one behind it.tar": broken(plain + plain, "more data after its end marker"),
        "text.tar": broken(b"hello " * 400),
    }  # fmt: skip


def compressed() -> dict[str, Case]:
    plain = as_tar()
    gz, bz, xz = gzip.compress(plain, mtime=0), bz2.compress(plain), lzma.compress(plain)
    middle = {kind: len(content) // 2 for kind, content in (("gz", gz), ("bz", bz), ("xz", xz))}
    return {
        "good.tar.gz": Case(gz),
        "good.tar.bz2": Case(bz),
        "good.tar.xz": Case(xz),
        "in two parts.tar.gz": Case(gzip.compress(plain[:5000]) + gzip.compress(plain[5000:])),
        "a flipped bit.tar.gz": broken(flipped(gz, middle["gz"])),
        "a wrong checksum.tar.gz": broken(flipped(gz, len(gz) - 8), "CRC"),
        "a wrong length.tar.gz": broken(flipped(gz, len(gz) - 2)),
        "cut.tar.gz": broken(gz[: middle["gz"]]),
        "cut before its checksum.tar.gz": broken(gz[:-8]),
        "garbage behind it.tar.gz": broken(gz + b"garbage"),
        "a flipped bit.tar.bz2": broken(flipped(bz, middle["bz"])),
        "cut.tar.bz2": broken(bz[: middle["bz"]]),
        "a flipped bit.tar.xz": broken(flipped(xz, middle["xz"])),
        "a wrong checksum.tar.xz": broken(flipped(xz, len(xz) - 40)),
        "cut.tar.xz": broken(xz[: middle["xz"]]),
        "no tar.tar.gz": broken(gzip.compress(b"hello " * 400)),
    }


def archives() -> dict[str, Case]:
    return zips() | tars() | compressed()
