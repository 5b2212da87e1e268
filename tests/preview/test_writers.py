"""Every public writer of the libraries is refused before it changes a file, in a preview and in a run; a new release's new one is seen."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import closing
from importlib.machinery import BuiltinImporter, ExtensionFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from data_engine.engine.access.file_events import ChangeRefusedError, FileGuard, guarding
from data_engine.engine.access.guards import OwnSources, PreviewGuard
from data_engine.engine.access.interceptors import Interceptors
from tests.support import WorkspaceFiles

SETUP = {
    "polars": "import polars as pl; df = pl.DataFrame({'a': [1, 2], 'b': [3, 4]}); lf = df.lazy()",
    "pyarrow": "import pyarrow as pa, pyarrow.csv, pyarrow.parquet, pyarrow.feather, pyarrow.orc, pyarrow.dataset, pyarrow.fs"
    "; t = pa.table({'a': [1]}); local = pa.fs.LocalFileSystem(); name = os.path.basename(old)",
    "pandas": "import pandas as pd; df = pd.DataFrame({'a': [1, 2]}); s = df['a']",
    "numpy": "import numpy as np; a = np.arange(3)",
    "openpyxl": "import openpyxl",
    "xlsxwriter": "import xlsxwriter",
    "python": "import io, shutil, pathlib, tempfile; p = pathlib.Path(old)",
}
ZIPPED = "import zipfile; z = zipfile.ZipFile(place + '/a.zip', 'w'); z.write(other, os.path.basename(old)); z.close()"
TARRED = "import tarfile; t = tarfile.open(place + '/a.tar', 'w'); t.add(other, os.path.basename(old)); t.close()"
PARTITIONS = "pl.PartitionBy(folder, key='a', file_path_provider=lambda about: os.path.basename(old))"
WRITES = {  # what is called, and how; `old` is a file that is there, alone in `folder`
    "polars.DataFrame.write_avro": "df.write_avro(old)",
    "polars.DataFrame.write_csv": "df.write_csv(old)",
    "polars.DataFrame.write_csv by its name": "df.write_csv(file=old)",
    "polars.DataFrame.write_csv by its address": "df.write_csv(pathlib.Path(old).as_uri())",
    "polars.DataFrame.write_excel": "df.write_excel(old)",
    "polars.DataFrame.write_ipc": "df.write_ipc(old)",
    "polars.DataFrame.write_ipc_stream": "df.write_ipc_stream(old)",
    "polars.DataFrame.write_json": "df.write_json(old)",
    "polars.DataFrame.write_ndjson": "df.write_ndjson(old)",
    "polars.DataFrame.write_parquet": "df.write_parquet(old)",
    "polars.DataFrame.serialize": "df.serialize(old)",
    "polars.Expr.meta.serialize": "pl.col('a').meta.serialize(old)",
    "polars.LazyFrame.serialize": "lf.serialize(old)",
    "polars.LazyFrame.sink_batches": "lf.sink_batches(lambda batch: open(old, 'w').write('x'))",
    "polars.LazyFrame.sink_csv": "lf.sink_csv(old)",
    "polars.LazyFrame.sink_csv of an address": "lf.sink_csv('file:' + old)",
    "polars.LazyFrame.sink_csv of a plan": "lf.sink_csv(old, lazy=True).collect()",
    "polars.LazyFrame.sink_ipc": "lf.sink_ipc(old)",
    "polars.LazyFrame.sink_ndjson": "lf.sink_ndjson(old)",
    "polars.LazyFrame.sink_parquet": "lf.sink_parquet(old)",
    "polars.PartitionBy": f"lf.sink_csv({PARTITIONS})",
    "polars.PartitionBy by its own names": "lf.sink_csv(pl.PartitionBy(folder, max_rows_per_file=1))",
    "polars.Engine.sink_csv": "pl.InMemoryEngine().sink_csv(lf, old)",
    "polars.Engine.sink_parquet": "pl.InMemoryEngine().sink_parquet(lf, old)",
    "polars.Engine.sink_ipc": "pl.InMemoryEngine().sink_ipc(lf, old)",
    "polars.Engine.sink_ndjson": "pl.InMemoryEngine().sink_ndjson(lf, old)",
    "polars.Config.save_to_file": "pl.Config.save_to_file(old)",
    "polars.Expr.map_batches": "lf.select(pl.col('a').map_batches(lambda s: open(old, 'w') and s, return_dtype=pl.Int64)).collect()",
    "polars.LazyFrame.collect_async": "import asyncio; one = lf.select(pl.col('a').map_batches(lambda s: open(old, 'w') and s, "
    "return_dtype=pl.Int64))\nasync def get(): return await one.collect_async()\nasyncio.run(get())",
    "pyarrow.output_stream": "pa.output_stream(old)",
    "pyarrow.create_memory_map": "pa.create_memory_map(old, 10)",
    "pyarrow.memory_map": "pa.memory_map(old, 'r+')",
    "pyarrow.MemoryMappedFile.create": "pa.MemoryMappedFile.create(old, 10)",
    "pyarrow.OSFile": "pa.OSFile(old, 'w')",
    "pyarrow.OSFile to append": "pa.OSFile(old, mode='ab')",
    "pyarrow.CompressedOutputStream": "pa.CompressedOutputStream(old, 'gzip')",
    "pyarrow.csv.CSVWriter": "pa.csv.CSVWriter(old, t.schema)",
    "pyarrow.csv.write_csv": "pa.csv.write_csv(t, old)",
    "pyarrow.dataset.write_dataset": "pa.dataset.write_dataset(t, folder, format='csv', basename_template='{i}.csv', "
    "existing_data_behavior='delete_matching')",
    "pyarrow.dataset.write_dataset over its names": "pa.dataset.write_dataset(t, '/', filesystem=pa.fs.SubTreeFileSystem(folder, local), "
    "format='csv', basename_template='{i}.csv', existing_data_behavior='overwrite_or_ignore')",
    "pyarrow.feather.write_feather": "pa.feather.write_feather(t, old)",
    "pyarrow.ipc.RecordBatchFileWriter": "pa.ipc.RecordBatchFileWriter(old, t.schema)",
    "pyarrow.ipc.RecordBatchStreamWriter": "pa.RecordBatchStreamWriter(old, t.schema)",
    "pyarrow.ipc.new_file": "pa.ipc.new_file(old, t.schema)",
    "pyarrow.ipc.new_stream": "pa.ipc.new_stream(old, t.schema)",
    "pyarrow.orc.ORCWriter": "pa.orc.ORCWriter(old)",
    "pyarrow.orc.write_table": "pa.orc.write_table(t, old)",
    "pyarrow.parquet.ParquetWriter": "pa.parquet.ParquetWriter(old, t.schema)",
    "pyarrow.parquet.write_metadata": "pa.parquet.write_metadata(t.schema, old)",
    "pyarrow.parquet.write_table": "pa.parquet.write_table(t, old)",
    "pyarrow.parquet.write_table elsewhere": "pa.parquet.write_table(t, name, filesystem=pa.fs.SubTreeFileSystem(folder, local))",
    "pyarrow.parquet.write_table by an address": "pa.parquet.write_table(t, pathlib.Path(old).as_uri())",
    "pyarrow.parquet.write_to_dataset": "pa.parquet.write_to_dataset(t, folder, existing_data_behavior='delete_matching')",
    "pyarrow.fs.copy_files": "pa.fs.copy_files(other, old)",
    "pyarrow.fs.FileSystem.from_uri": "fs, path = pa.fs.FileSystem.from_uri(pathlib.Path(old).as_uri()); fs.open_output_stream(path)",
    "pyarrow.fs.LocalFileSystem.copy_file": "local.copy_file(other, old)",
    "pyarrow.fs.LocalFileSystem.move": "local.move(other, old)",
    "pyarrow.fs.LocalFileSystem.open_append_stream": "local.open_append_stream(old)",
    "pyarrow.fs.LocalFileSystem.open_output_stream": "local.open_output_stream(old)",
    "pyarrow.fs.SubTreeFileSystem.open_output_stream": "pa.fs.SubTreeFileSystem(folder, local).open_output_stream(name)",
    "pyarrow.fs.SubTreeFileSystem.base_fs": "pa.fs.SubTreeFileSystem(folder, local).base_fs.open_output_stream(old)",
    "pyarrow.fs.SubTreeFileSystem.copy_file": "pa.fs.SubTreeFileSystem('/', local).copy_file(other, old)",
    "pyarrow.fs.SubTreeFileSystem.move": "pa.fs.SubTreeFileSystem('/', local).move(other, old)",
    "pyarrow.fs.SubTreeFileSystem.open_append_stream": "pa.fs.SubTreeFileSystem('/', local).open_append_stream(old)",
    "pandas.DataFrame.to_csv": "df.to_csv(old)",
    "pandas.DataFrame.to_excel": "df.to_excel(old, engine='openpyxl')",
    "pandas.ExcelWriter": "with pd.ExcelWriter(old, engine='openpyxl') as w: df.to_excel(w)",
    "pandas.DataFrame.to_feather": "df.to_feather(old)",
    "pandas.DataFrame.to_html": "df.to_html(old)",
    "pandas.DataFrame.to_json": "df.to_json(old)",
    "pandas.DataFrame.to_orc": "df.to_orc(old)",
    "pandas.DataFrame.to_parquet": "df.to_parquet(old)",
    "pandas.DataFrame.to_pickle": "df.to_pickle(old)",
    "pandas.DataFrame.to_stata": "df.to_stata(old)",
    "pandas.DataFrame.to_string": "df.to_string(old)",
    "pandas.Series.to_csv": "s.to_csv(old)",
    "pandas.Series.to_json": "s.to_json(old)",
    "pandas.Series.to_pickle": "s.to_pickle(old)",
    "pandas.Series.to_string": "s.to_string(old)",
    "pandas.Series.to_excel": "s.to_excel(old, engine='openpyxl')",
    "pandas.to_pickle": "pd.to_pickle(df, old)",
    "numpy.save": "np.save(open(old, 'wb'), a)",
    "numpy.savetxt": "np.savetxt(old, a)",
    "numpy.savez": "np.savez(open(old, 'wb'), a)",
    "numpy.savez_compressed": "np.savez_compressed(open(old, 'wb'), a)",
    "numpy.ndarray.tofile": "a.tofile(old)",
    "numpy.ndarray.dump": "a.dump(old)",
    "numpy.memmap": "np.memmap(old, dtype='uint8', mode='r+')",
    "openpyxl.Workbook.save": "openpyxl.Workbook().save(old)",
    "xlsxwriter.Workbook": "book = xlsxwriter.Workbook(old); book.add_worksheet(); book.close()",
    "python.builtins.open": "open(old, 'w')",
    "python.io.FileIO": "io.FileIO(old, 'r+')",
    "python.os.open": "os.open(old, os.O_RDWR)",
    "python.os.truncate": "os.truncate(old, 0)",
    "python.os.rename": "os.rename(other, old)",
    "python.os.replace": "os.replace(other, old)",
    "python.shutil.copy": "shutil.copy(other, old)",
    "python.shutil.copyfile": "shutil.copyfile(other, old)",
    "python.shutil.copy2": "shutil.copy2(other, old)",
    "python.shutil.move": "shutil.move(other, old)",
    "python.pathlib.Path.write_text": "p.write_text('x')",
    "python.pathlib.Path.write_bytes": "p.write_bytes(b'x')",
    "python.pathlib.Path.open": "p.open('a')",
    "python.pathlib.Path.replace": "pathlib.Path(other).replace(old)",
    "python.pathlib.Path.touch": "p.touch()",
    "python.pathlib.Path.chmod": "p.chmod(0o600)",
    "python.os.chmod": "os.chmod(old, 0o600)",
    "python.os.utime": "os.utime(old, (0, 0))",
    "python.os.renames": "os.renames(other, old)",
    "python.codecs.open": "import codecs; codecs.open(old, 'w')",
    "python.shutil.copystat": "shutil.copystat(other, old)",
    "python.shutil.copymode": "shutil.copymode(other, old)",
    "python.shutil.copytree": "os.makedirs(place + '/s'); shutil.copy(other, place + '/s/' + os.path.basename(old))"
    "; shutil.copytree(place + '/s', folder, dirs_exist_ok=True)",
    "python.shutil.make_archive": "shutil.make_archive(old[:-4], 'tar', place)",
    "python.shutil.unpack_archive": f"{ZIPPED}; shutil.unpack_archive(place + '/a.zip', folder)",
    "python.zipfile.ZipFile": "import zipfile; zipfile.ZipFile(old, 'w')",
    "python.zipfile.PyZipFile": "import zipfile; zipfile.PyZipFile(old, 'w')",
    "python.zipfile.ZipFile.extract": f"{ZIPPED}; zipfile.ZipFile(place + '/a.zip').extract(os.path.basename(old), folder)",
    "python.zipfile.ZipFile.extractall": f"{ZIPPED}; zipfile.ZipFile(place + '/a.zip').extractall(folder)",
    "python.zipapp.create_archive": "import zipapp; zipapp.create_archive(place, old, main='a:b')",
    "python.tarfile.open": "import tarfile; tarfile.open(old, 'w')",
    "python.tarfile.TarFile": "import tarfile; tarfile.TarFile(old, 'w')",
    "python.tarfile.TarFile.extract": f"{TARRED}\nwith tarfile.open(place + '/a.tar') as t: t.extract(os.path.basename(old), folder)",
    "python.tarfile.TarFile.extractall": f"{TARRED}\nwith tarfile.open(place + '/a.tar') as t: t.extractall(folder)",
    "python.gzip.open": "import gzip; gzip.open(old, 'w')",
    "python.gzip.GzipFile": "import gzip; gzip.GzipFile(old, 'w')",
    "python.bz2.open": "import bz2; bz2.open(old, 'w')",
    "python.bz2.BZ2File": "import bz2; bz2.BZ2File(old, 'w')",
    "python.lzma.open": "import lzma; lzma.open(old, 'w')",
    "python.lzma.LZMAFile": "import lzma; lzma.LZMAFile(old, 'w')",
    "python.csv.writer": "import csv; csv.writer(open(old, 'w'))",
    "python.json.dump": "import json; json.dump(1, open(old, 'w'))",
    "python.pickle.dump": "import pickle; pickle.dump(1, open(old, 'wb'))",
    "python.mmap.mmap": "import mmap; mmap.mmap(open(old, 'r+b').fileno(), 0)",
    "python.wave.open": "import wave; wave.open(old, 'wb')",
    "python.logging.FileHandler": "import logging; logging.FileHandler(old)",
    "python.logging.handlers.RotatingFileHandler": "import logging.handlers; logging.handlers.RotatingFileHandler(old)",
    "python.logging.handlers.TimedRotatingFileHandler": "import logging.handlers; logging.handlers.TimedRotatingFileHandler(old)",
    "python.logging.handlers.WatchedFileHandler": "import logging.handlers; logging.handlers.WatchedFileHandler(old)",
    "python.mailbox.mbox": "import mailbox; mailbox.mbox(old)",
    "python.http.cookiejar.LWPCookieJar.save": "import http.cookiejar; http.cookiejar.LWPCookieJar(old).save()",
    "python.http.cookiejar.MozillaCookieJar.save": "import http.cookiejar; http.cookiejar.MozillaCookieJar(old).save()",
    "python.urllib.request.urlretrieve": "import urllib.request; urllib.request.urlretrieve(pathlib.Path(other).as_uri(), old)",
    "python.xml.etree.ElementTree.ElementTree.write": "import xml.etree.ElementTree as E; E.ElementTree(E.Element('a')).write(old)",
    "python.cProfile.Profile.dump_stats": "import cProfile; cProfile.Profile().dump_stats(old)",
    "python.trace.CoverageResults.write_results": "import trace; trace.CoverageResults(outfile=old).write_results(coverdir=place)",
    "python.trace.CoverageResults.write_results_file": "import trace; trace.CoverageResults().write_results_file(old, ['x'], {}, {})",
    "python.tracemalloc.Snapshot.dump": "import tracemalloc; tracemalloc.Snapshot((), 1).dump(old)",
    "python.ssl.SSLContext.keylog_filename": "import ssl; ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).keylog_filename = old",
    "python.readline.write_history_file": "import readline; readline.write_history_file(old)",
    "python.readline.append_history_file": "import readline; readline.append_history_file(1, old)",
    "python._winapi.CopyFile2": "import sys; sys.audit('_winapi.CopyFile2', other, old, 0)",
    "python.os.link": "os.link(old, place + '/link'); open(place + '/link', 'w')",
    "python.an empty context": "import contextvars; contextvars.Context().run(open, old, 'w')",
    "python._thread": "import _thread, time; _thread.start_new_thread(open, (old, 'w')); time.sleep(0.1)",
    "python.a pool": "from multiprocessing.pool import ThreadPool\nwith ThreadPool(1) as pool: pool.map(lambda path: open(path, 'w'), [old])",
    "python.a pool of before": "POOL.submit(open, old, 'w').result()",
}
PREVIEW_ONLY = {  # they take a file away, which a run may
    "pyarrow.fs.LocalFileSystem.delete_dir": "local.delete_dir(folder)",
    "pyarrow.fs.LocalFileSystem.delete_dir_contents": "local.delete_dir_contents(folder)",
    "pyarrow.fs.LocalFileSystem.delete_file": "local.delete_file(old)",
    "pyarrow.fs.SubTreeFileSystem.delete_dir": "pa.fs.SubTreeFileSystem('/', local).delete_dir(folder)",
    "pyarrow.fs.SubTreeFileSystem.delete_dir_contents": "pa.fs.SubTreeFileSystem(folder, local).delete_dir_contents('', accept_root_dir=True)",
    "pyarrow.fs.SubTreeFileSystem.delete_file": "pa.fs.SubTreeFileSystem(folder, local).delete_file(name)",
    "python.os.remove": "os.remove(old)",
    "python.os.unlink": "os.unlink(old)",
    "python.os.rmdir": "os.rmdir(empty)",
    "python.os.removedirs": "os.removedirs(empty)",
    "python.pathlib.Path.rmdir": "pathlib.Path(empty).rmdir()",
    "python.pathlib.Path.unlink": "p.unlink()",
    "python.fileinput.input": "import fileinput; list(fileinput.input(old, inplace=True))",
    "python.shutil.rmtree": "shutil.rmtree(folder)",
    "python.pathlib.Path.rename": "p.rename(folder + '/new')",
}
NO_FILE = {
    r"polars\.Catalog\..*|polars\.delete_iceberg|polars\..*(delta|iceberg|database|clipboard)": "a catalog, a database, another library's table, or the clipboard",
    r"polars\.(GPU|InMemory|Remote|Streaming)?Engine\.sink_batches|polars\.RemoteEngine\..*": "gives batches to a function, or works on another machine",
    r"polars\.(GPU|InMemory|Streaming)Engine\.sink_.*": "they are those of Engine",
    r"polars\.Config\.save": "gives a text",
    r"polars\..*\.deserialize": "reads",
    r"pyarrow\..*(deserialize|serialize|serialize_pandas|serialize_to)": "bytes in memory, or an open file",
    r"pyarrow\..*\.(write|writelines|write_batch|write_table|write_tensor|truncate)": "of what is opened already",
    r"pyarrow\.(BufferOutputStream|BufferedOutputStream|FixedSizeBufferWriter|MockOutputStream)": "memory, or an open file",
    r"pyarrow\.ipc\.(IpcWriteOptions|WriteStats)|pyarrow\..*(WriteOptions|WrittenFile)|pyarrow\..*make_write_options": "settings and figures",
    r"pyarrow\.parquet\.FileMetaData\.write_metadata_file": "no hook can stop it: an object that C code makes",
    r"pyarrow\.fs\.(Azure|Gcs|Hadoop|S3|Py)FileSystem.*|pyarrow\.fs\.F.*Handler.*|pyarrow\.fs\.FileSystem\..*": "another machine, Python code, or no file system of its own",
    r"pyarrow\..*(remove|delete)_?(metadata|column)?": "of a table or a schema",
    r"pyarrow\.fs\.\w+\.create_dir": "a new folder",
    r"pandas\..*to_(clipboard|sql|iceberg|latex|markdown|xml|hdf)": "a database, the clipboard; a package that is not installed here",
    r"pandas\.HDFStore.*": "a package that is not installed here; in the table",
    r"openpyxl\.Workbook\.write_only|pyarrow\.orc\.ORCFile\.writer.*|pyarrow\..*\.(serialized_size|write_options)": "a property",
    r"pyarrow\.MemoryMappedFile|pyarrow\.parquet\.ParquetLogicalType\.to_json": "opens nothing",
    r"pandas\.api\..*|pandas\..*Index.*|pandas\.Categorical\..*|pandas\.MultiIndex\..*": "an index",
    r"numpy\..*\.dumps|numpy\.(?!ndarray)\w+\.(dump|tofile)": "bytes in memory; the method of ndarray",
}
WORDS = re.compile(
    r"write|sink|save|dump|serialize|^output|OutputStream|OSFile|Writer|tofile|memmap|memory_map|MemoryMapped|PartitionBy|new_(file|stream)"
    r"|^to_(csv|parquet|feather|orc|hdf|excel|json|pickle|html|xml|stata|latex|markdown|sql|iceberg|clipboard)$|^delete_(file|dir)|^move$"
    r"|^copy_file|append_stream|output_stream"
)
MODULES = {
    "polars": ["polars"],
    "pyarrow": ["pyarrow", *(f"pyarrow.{name}" for name in "csv parquet feather orc ipc dataset fs json".split())],
    "pandas": ["pandas"],
    "numpy": ["numpy"],
    "openpyxl": ["openpyxl"],
    "xlsxwriter": ["xlsxwriter"],
}


def public(module: ModuleType, is_own: bool = False) -> Iterator[str]:
    """The public functions, classes and methods of a module, those of base classes too; of classes with `is_own` its own alone."""
    for name, value in list(vars(module).items()):
        if name.startswith("_") or isinstance(value, ModuleType) or not callable(value):
            continue
        if is_own and isinstance(value, type) and not value.__module__.lstrip("_").startswith(module.__name__):
            continue
        yield f"{module.__name__}.{name}"
        if isinstance(value, type) and value.__module__.partition(".")[0] not in ("builtins", "typing"):
            yield from (
                f"{module.__name__}.{name}.{attribute}" for attribute in dir(value) if not attribute.startswith("_")
            )


@pytest.mark.parametrize("library", MODULES)
def test_each_public_function_that_says_it_writes_is_known(library: str) -> None:
    """A new one of a new release: add how it is called to WRITES, and what is missing to the table of `interceptors`."""
    pytest.importorskip(library)
    known = {name.partition(" ")[0] for name in (*WRITES, *PREVIEW_ONLY)}
    says = {
        name
        for module in MODULES[library]
        for name in public(importlib.import_module(module))
        if WORDS.search(name.rpartition(".")[2])
    }
    aliases = {name: f"{name.partition('.')[0]}.{name.rpartition('.')[2]}" for name in says}
    same = {entry.replace("ipc.", "") for entry in known} | known

    unknown = [
        name
        for name in sorted(says)
        if name not in same
        and aliases[name] not in known
        and not any(re.fullmatch(pattern, name) for pattern in NO_FILE)
    ]

    assert unknown == []


PYTHON_MODULES = """builtins os io codecs shutil pathlib tempfile fileinput mmap gzip bz2 lzma zipfile tarfile zipapp json pickle marshal csv
plistlib configparser shelve dbm dbm.dumb logging logging.handlers wave mailbox http.cookiejar urllib.request xml.etree.ElementTree
py_compile compileall cProfile pstats trace tracemalloc ssl readline""".split()
PYTHON_WORDS = re.compile(
    r"write|save|dump|open$|copy|move|rename|replace|remove|rmdir|rmtree|unlink|truncate|link|touch|ch(own|mod)|utime|xattr|extract"
    r"|archive|Handler$|mkstemp|TemporaryFile|retrieve|mmap|history_file|File$|FileIO|^compile|^mk(fifo|nod|dir)|makedirs|keylog|^input$"
)
PYTHON_NO_FILE = {
    r"builtins\.(?!open$).*|(codecs|configparser|mailbox|logging|zipfile|gzip|tarfile)\..*(_errors|(Bad|Large)\w+File|[Rr]emove\w+|before_write)|pickle\.whichmodule|pstats\.SortKey\..*|os\.stat_result\..*": "values, code, errors",
    r"mailbox\.\w+\.(remove|replace_header)|xml\.etree\.ElementTree\.(Element\.remove|dump)|(tarfile\.TarInfo|zipfile\.ZipInfo)\.\w+"
    r"|shutil\.\w*(get|register)_\w+|http\.cookiejar\.\w+\.extract_cookies|logging\.(handlers\.)?\w*Link\w*": "a change of an object",
    r"(io|codecs|gzip|bz2|lzma|zipfile|tarfile|tempfile|mmap|configparser)\.\w+\.(write\w*|truncate|move|mkdir|open|addfile)|wave\.Wave_write.*"
    r"|ssl\..*|csv\.DictWriter.*|(json|pickle|marshal|plistlib)\.(\w+\.)?dumps?|(shutil|tarfile)\.copyfileobj|codecs\.(EncodedFile|getwriter)"
    r"|os\.(copy_file_range|writev?|pwritev?|ftruncate|fch\w+|eventfd_write|fdopen|pidfd_open)|gzip\.write32u": "what is opened already, and sockets",
    r"os\.(mkdir|makedirs|mkfifo|mknod|symlink)|pathlib\.Path\.(mkdir|symlink_to|hardlink_to|link_to)|tempfile\.\w+": "makes what is new, and fails where something is",
    r"io\.open_code|os\.(readlink|getxattr|listxattr|path\.islink|DirEntry\.is_symlink)|pathlib\.Path\.(readlink|is_symlink)|tarfile\.\w+_filter"
    r"|readline\.(read|remove|replace|clear)_\w+|urllib\.request\.(?!urlretrieve).*|zipfile\.(ZipExtFile|Path).*"
    r"|tarfile\.TarFile\.(extractfile|extraction_filter)|zipfile\.is_zipfile": "reads",
    r"os\.(chown|lchown|setxattr|removexattr|openpty|popen)|pathlib\.Path\.lchmod|shutil\.chown": "needs rights or a file system that others have; a program",
    r"io\.open|tarfile\.bltn_open|tarfile\.TarFile\.(\w*open|ch\w+|utime|make\w+)|pathlib\.(Posix|Windows)Path\..*|zipfile\.(CompleteDirs|FastLookup|PyZipFile)\.\w+"
    r"|http\.cookiejar\.FileCookieJar\.save|xml\.etree\.ElementTree\.ElementTree\.write_c14n|pstats\.Stats\.dump_stats|cProfile\.Profile"
    r"|fileinput\.FileInput\.\w+|fileinput\.\w*nextfile": "another name, or a part, of what is tried",
    r"(shelve|dbm|dbm\.dumb)\.open": "a database of files with endings of its own, by `open` or a module of the table",
    r"py_compile\.compile|compileall\.compile_\w+": "by `open` and `os.replace`, of files with names of its own",
    r"logging\.(Handler|StreamHandler|NullHandler)|logging\.\w+\.addHandler|logging\.handlers\.(?!.*Rotating|Watched)\w+Handler|logging\.handlers\.BaseRotatingHandler": "no file",
}
C_MODULES = {
    "_io posix nt _sqlite3 _winapi": "they raise an event before they change a file: `file_events`",
    "readline _dbm _gdbm": "in the table of `interceptors`",
    "_ctypes _posixsubprocess _interpreters _xxsubinterpreters _multiprocessing _msi winreg": "other code, programs, interpreters and the registry: no hook can stop them",
    """_abc _ast _asyncio _bisect _blake2 _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections
    _contextvars _crypt _csv _curses _curses_panel _datetime _decimal _elementtree _functools _hashlib _heapq _hmac _imp _interpchannels _interpqueues
    _json _locale _lsprof _lzma _md5 _multibytecodec _opcode _operator _overlapped _pickle _posixshmem _queue _random _remote_debugging
    _scproxy _sha1 _sha2 _sha256 _sha3 _sha512 _signal _socket _sre _ssl _stat _statistics _string _struct _suggestions _symtable _sysconfig _thread _tkinter
    _tokenize _tracemalloc _types _typing _uuid _warnings _weakref _wmi _xxinterpchannels _zoneinfo _zstd array atexit audioop binascii builtins cmath
    errno faulthandler fcntl gc grp itertools marshal math mmap msvcrt nis ossaudiodev pwd pyexpat resource select spwd sys syslog
    termios time unicodedata winsound xxlimited xxlimited_35 xxsubtype zlib""": "they write what is opened already, by `open` whose event they raise, or nothing",
}  # fmt: skip


def test_each_public_function_of_python_that_says_it_writes_is_known() -> None:
    """A new one of a new Python: add how it is called to WRITES, or why it needs no test."""
    known = {name.partition(" ")[0].removeprefix("python.") for name in (*WRITES, *PREVIEW_ONLY)}
    modules = [importlib.import_module(name) for name in PYTHON_MODULES if find_spec(name) is not None]
    says = {
        name
        for module in modules
        for name in public(module, is_own=True)
        if PYTHON_WORDS.search(name.rpartition(".")[2])
    }

    unknown = [
        name for name in sorted(says - known) if not any(re.fullmatch(pattern, name) for pattern in PYTHON_NO_FILE)
    ]

    assert unknown == []


def test_each_module_of_c_code_of_python_is_known() -> None:
    """Python's own Python code reaches files through these only, so a new one that opens files is all that can be missing."""
    known = set(" ".join(C_MODULES).split())
    names = [name for name in sys.stdlib_module_names if name.partition(".")[0] not in ("antigravity", "this", "nt")]
    loaders = {name: spec.loader for name in names if (spec := find_spec(name)) is not None}
    of_c = {
        name for name, loader in loaders.items() if loader is BuiltinImporter or isinstance(loader, ExtensionFileLoader)
    }

    assert sorted(name for name in of_c - known if not name.startswith("_test")) == []


class Place:
    """A folder with one file, another one beside it, and a place where all is allowed."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder, self.place, self.empty = root / "folder", root / "free", root / "empty"
        for folder in (self.folder, self.place, self.empty):
            folder.mkdir()
        self.old, self.other = self.folder / name, self.place / "other"
        self.old.write_text("old")
        self.other.write_text("other")

    def call(self, statement: str, **names: Any) -> None:
        library = statement_library(statement)
        names |= {name: str(value) for name, value in vars(self).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(f"import os, pathlib\n{SETUP[library]}\n{STATEMENTS[statement]}", names)


STATEMENTS = WRITES | PREVIEW_ONLY
RIGHT_NAMES = {
    "python.shutil.make_archive": "old.tar",
    "polars.PartitionBy by its own names": "00000000.csv",
    "polars.DataFrame.write_excel": "old.xlsx",
    "xlsxwriter.Workbook": "old.xlsx",
    "pandas.DataFrame.to_excel": "old.xlsx",
    "pandas.Series.to_excel": "old.xlsx",
    "pandas.ExcelWriter": "old.xlsx",
    "pyarrow.dataset.write_dataset over its names": "0.csv",
}


def statement_library(statement: str) -> str:
    return statement.partition(".")[0]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, RIGHT_NAMES.get(request.node.callspec.params["statement"], "old.txt"))


def refused(place: Place, guard: FileGuard, interceptors: Interceptors, statement: str) -> None:
    if statement.endswith("os.link") or "readline" in statement:
        pytest.importorskip("fcntl")
    pytest.importorskip("numpy" if statement.startswith("python") else statement_library(statement))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        with closing(interceptors), guarding(guard):
            interceptors.open()
            try:
                place.call(statement, POOL=pool)
            except Exception:
                assert guard.refused
    assert guard.refused, "nothing was refused"
    assert isinstance(guard.refused[0], ChangeRefusedError)
    assert place.old.read_text() == "old"
    assert os.listdir(place.folder) == [place.old.name]
    assert place.empty.is_dir()


pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_preview_changes_nothing(place: Place, statement: str) -> None:
    refused(place, PreviewGuard(free=(f"{os.path.realpath(place.place)}{os.sep}",)), Interceptors(), statement)


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("is_batch", [False, True], ids=["file", "batch"])
def test_a_run_overwrites_no_source(place: Place, statement: str, is_batch: bool) -> None:
    refused(place, OwnSources(place.folder, None if is_batch else place.old), Interceptors(of_runs=True), statement)


READS = """
import os, pathlib, pyarrow as pa, pyarrow.parquet as pq, pyarrow.fs, pyarrow.dataset, polars as pl
table = pa.table({"a": [1]})
local = pa.fs.LocalFileSystem()
assert isinstance(local, pa.fs.FileSystem) and issubclass(pa.fs.LocalFileSystem, pa.fs.FileSystem)
pq.write_table(table, free + "/a.parquet", filesystem=local)
assert pq.read_table("a.parquet", filesystem=pa.fs.SubTreeFileSystem(free, local)).num_rows == 1
assert pa.OSFile(free + "/a.parquet").size() == local.get_file_info(free + "/a.parquet").size
pa.dataset.write_dataset(table, free + "/set", format="parquet", existing_data_behavior="overwrite_or_ignore")
assert pa.dataset.dataset(free + "/set", filesystem=local).count_rows() == 1
import pickle
assert pickle.loads(pickle.dumps(local)) == local
pl.LazyFrame({"a": [1, 2]}).sink_csv(pl.PartitionBy(free + "/parts", key="a"), mkdir=True)
assert len(list(pathlib.Path(free, "parts").rglob("*.csv"))) == 2
"""


@pytest.mark.filterwarnings("ignore:.*PartitionBy")
def test_what_is_allowed_works_as_ever(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow as pa
    import pyarrow.fs

    before = pa.OSFile, pa.fs.LocalFileSystem, pa.output_stream
    for guard in (PreviewGuard(), OwnSources(tmp_path / "in")):
        (free := tmp_path / type(guard).__name__).mkdir()
        with closing(Interceptors()) as interceptors, guarding(guard):
            interceptors.open()
            exec(READS, {"free": str(free)})
            exec(READS, {"free": str(free)})  # what a preview made, it may change
    assert (pa.OSFile, pa.fs.LocalFileSystem, pa.output_stream) == before


FIRST = {
    "pyarrow.csv": "import pyarrow as pa, pyarrow.csv as c; c.write_csv(pa.table({'a': [1]}), path)",
    "pyarrow.feather": "import pyarrow as pa, pyarrow.feather as f; f.write_feather(pa.table({'a': [1]}), path)",
    "pyarrow.parquet": "import pyarrow as pa; from pyarrow.parquet import write_table; write_table(pa.table({'a': [1]}), path)",
    "pyarrow.orc": "import pyarrow as pa; from pyarrow import orc; orc.write_table(pa.table({'a': [1]}), path)",
    "pyarrow.fs": "from pyarrow.fs import LocalFileSystem; LocalFileSystem().open_output_stream(str(path))",
    "polars": "import polars as pl; pl.read_csv(path).head(1).write_csv(path)",
    "polars lazily": "import polars as pl; pl.LazyFrame({'a': [1]}).sink_csv(path)",
    "duckdb": "import duckdb; duckdb.sql('select 1 as a').write_csv(str(path))",
    "a query": "import duckdb; duckdb.sql(f\"{'co'}py (select 1 as a) to '{path}'\")",
    "parts of a query": "import duckdb; duckdb.sql(f\"copy (select 1 as a, 2 as b) to '{path.parent}' (format csv, partition_by (a), overwrite)\")",
    "what was prepared": "import duckdb; duckdb.sql(f\"prepare p as copy (select 1) to '{path}'\"); duckdb.sql('execute p')",
    "pandas": "import pandas as pd; pd.DataFrame({'a': [1]}).to_parquet(path)",
}
RUNS = """
import sys
from pathlib import Path
from data_engine import Workspace, load_flow
assert not {"polars", "pyarrow", "pandas", "duckdb"} & sys.modules.keys()
load_flow("reads", data_root=sys.argv[1]).run_once()
print([Path(one.path).name for run in Workspace(sys.argv[1]).runs("reads") for one in run.inputs])
for name in sys.argv[2:]:
    for run in ("run_once", "preview"):
        try:
            getattr(load_flow(name, data_root=sys.argv[1]), run)()
        except Exception as error:
            print(name, run, type(error.__cause__).__name__)
        else:
            print(name, run, "went through")
"""


@pytest.mark.parametrize("where", ["inside", "helper", "above"])
def test_in_a_process_that_imports_the_library_first_in_its_step(ws: WorkspaceFiles, where: str) -> None:
    pytest.importorskip("pandas")
    source = ws.source("in/a.csv", "a\n1\n2\n")
    ws.source("other/b.csv", "a\n1\n")
    ws.module(
        "reads",
        "from data_engine import Flow\ndef step(context):\n    import polars as pl\n    pl.read_csv('../other/b.csv')\n"
        "def build(): return Flow(group='G').step(step)\n",
    )
    names = []
    for number, statement in enumerate(FIRST.values()):
        lines = statement.split("; ")
        imports = "; ".join(line for line in lines if line.startswith(("import", "from"))) if where == "above" else ""
        if imports:
            lines = [line for line in lines if line not in imports.split("; ")]
        body = "; ".join(lines)
        names.append(f"flow_{number}")
        if where == "helper":
            ws.source(f"flow_modules/flow_helpers/write_{number}.py", f"def save(path):\n    {body}\n")
            body = f"from flow_helpers.write_{number} import save; save(path)"
        ws.module(
            names[-1],
            f"{imports}\nfrom data_engine import Flow\ndef step(context):\n    path = context.source.path\n    {body}\n"
            "def build(): return Flow(group='G').watch(mode='manual', source='../in', extensions='csv').step(step)\n",
        )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RUNS if where == "inside" else RUNS.replace("assert not", "assert not set() &")),
         str(ws.root), *names],
        capture_output=True, text=True, env=env, cwd=ws.modules, check=False,
    )  # fmt: skip

    assert source.read_text() == "a\n1\n2\n", told.stdout
    inputs, *outcomes = told.stdout.splitlines() or [told.stderr]
    assert inputs == "['b.csv']"
    wrong = [line for line in outcomes if not line.endswith(("OverwritesSourceError", "WriteRefusedError"))]
    assert wrong == [], told.stderr
    assert len(outcomes) == 2 * len(FIRST), told.stderr
