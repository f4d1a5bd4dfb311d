"""Downloading from a server on this machine, unpacking, and the prepare command."""

import gzip
import hashlib
import http.server
import io
import random
import tarfile
import threading

import pytest

from demo_jax.data import download as downloads
from demo_jax.data.download import Archive, download, extract
from demo_jax.data.storage import load_corpus
from demo_jax.errors import InputError
from demo_jax.stages import sources
from tests.helpers_commands import run_command


def fasta(n, seed=0):
    """n positives and n unrelated negatives."""
    draw = random.Random(seed)
    return ''.join(f'>{k % 2}\n{"".join(draw.choices("ACGT", k=25))}\n' for k in range(2 * n))


def tar_bytes(entries, mode='w:gz'):
    """A tar archive of (name or TarInfo, text) entries."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for entry, text in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture(scope='module')
def content():
    entries = [(f'deepbind/TASK{k}/{part}.fa', fasta(20, k)) for k in range(3) for part in ('train', 'test')]
    entries.append(('deepbind/noise.txt', random.Random(0).randbytes(20_000).hex()))
    return tar_bytes(entries)


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """Seconds that pooch would have waited between tries."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')  # a machine's proxy does not know the servers of these tests
    seconds = []
    monkeypatch.setattr('pooch.core.time.sleep', seconds.append)
    return seconds


class Server(http.server.ThreadingHTTPServer):
    """Serves one file. `cuts` = how many answers end after a third of what was asked for; `ranges` = honour Range."""

    def __init__(self, content, cuts=0, ranges=True, status=None):
        super().__init__(('127.0.0.1', 0), Handler)
        self.content, self.cuts, self.ranges, self.status = content, cuts, ranges, status
        self.asked = []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.02})
        self.thread.start()

    def archive(self, **changes):
        url = f'http://127.0.0.1:{self.server_address[1]}/data/deepbind.tar.gz'
        return Archive(url, len(self.content), hashlib.sha256(self.content).hexdigest())._replace(**changes)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get('Range')
        server.asked.append(wanted)
        if server.status:
            self.send_error(server.status)
            return
        if wanted and server.ranges and int(wanted[6:-1]) >= len(server.content):
            self.send_error(416)
            return
        start = int(wanted.removeprefix('bytes=').rstrip('-')) if wanted and server.ranges else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(server.content) - 1}/{len(server.content)}')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if server.cuts > 0:
            server.cuts -= 1
            body = body[: len(body) // 3]
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def fetch(server, path, **changes):
    return download(server.archive(**changes), path, attempts=3, timeout=60, progress=False)


def test_download(content, tmp_path):
    with Server(content) as server:
        path = fetch(server, tmp_path / 'new' / 'a.tar.gz')
        assert path.read_bytes() == content
        fetch(server, path)  # a whole copy on disk is not fetched again
        assert server.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ['a.tar.gz']


def kept(arrived):
    """Of the bytes that arrived before a connection was cut, those that were written: whole pieces."""
    return arrived - arrived % downloads._PIECE


def test_broken_download_goes_on_where_it_stopped(content, tmp_path, waited):
    with Server(content, cuts=2) as server:
        assert fetch(server, tmp_path / 'a').read_bytes() == content
    first = kept(len(content) // 3)
    second = first + kept((len(content) - first) // 3)
    assert 0 < first < second < len(content)
    assert server.asked == [None, f'bytes={first}-', f'bytes={second}-']
    assert waited == [1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ['a']


def test_download_of_an_earlier_run_is_resumed(content, tmp_path):
    (tmp_path / 'a.part').write_bytes(content[:1000])
    with Server(content) as server:
        assert fetch(server, tmp_path / 'a').read_bytes() == content
        assert server.asked == ['bytes=1000-']
        for other in (content + b'more', b'of another file, as long'.ljust(len(content))):  # no part of this one
            (tmp_path / 'b.part').write_bytes(other)
            assert fetch(server, tmp_path / 'b').read_bytes() == content
            assert server.asked[1:] == [f'bytes={len(other)}-', None]
            (tmp_path / 'b').unlink()
            del server.asked[1:]


def test_server_without_ranges(content, tmp_path):
    with Server(content, cuts=1, ranges=False) as server:
        assert fetch(server, tmp_path / 'a').read_bytes() == content
        assert len(server.asked) == 2
    with Server(content, cuts=100, ranges=False) as server:
        with pytest.raises(InputError, match=r'after 3 attempts \(the connection ended\); [1-9][0-9,]+ of '):
            fetch(server, tmp_path / 'b')
        assert not (tmp_path / 'b').exists()
        first = kept(len(content) // 3)  # each try starts anew
        assert (tmp_path / 'b.part').read_bytes() == content[:first]


def test_wrong_content_is_removed(content, tmp_path):
    with Server(content) as server:
        for changes in ({'sha256': '0' * 64}, {'size': len(content) - 10}):
            with pytest.raises(InputError, match='is not the expected file'):
                fetch(server, tmp_path / 'a', **changes)
            assert not list(tmp_path.iterdir())
            assert len(server.asked) == 1  # another try would bring the same
            server.asked.clear()
    (tmp_path / 'a').write_bytes(b'something else')
    with pytest.raises(InputError, match='has 14 bytes, expected'):
        fetch(server, tmp_path / 'a')
    (tmp_path / 'a').write_bytes(content[:-1] + b'!')
    with pytest.raises(InputError, match='has sha256'):
        fetch(server, tmp_path / 'a')


def test_refusing_and_missing_servers(content, tmp_path):
    with Server(content, status=404) as server:
        with pytest.raises(InputError, match='HTTP status 404'):
            fetch(server, tmp_path / 'a')
        assert len(server.asked) == 1
    with Server(content, status=503) as server:
        with pytest.raises(InputError, match='after 3 attempts .HTTP status 503'):
            fetch(server, tmp_path / 'a')
        assert len(server.asked) == 3
    with pytest.raises(InputError, match='cannot be downloaded after 3 attempts .*refused'):  # nobody listens there now
        fetch(server, tmp_path / 'a')
    (tmp_path / 'file').touch()
    with Server(content) as server:
        with pytest.raises(InputError, match=r'cannot be downloaded \(.*file'):  # no folder can be made there
            fetch(server, tmp_path / 'file' / 'a')
        assert server.asked == []


def test_the_public_archive_is_the_one_of_the_paper():
    assert downloads.DEEPMOTIF_108.size == 107_022_470
    assert downloads.DEEPMOTIF_108.sha256.startswith('b76db7e6559dae49')
    assert downloads.DEEPMOTIF_108.url.endswith('QData/DeepMotif/master/data/deepbind.tar.gz')


def test_extract(content, tmp_path):
    (tmp_path / 'a').write_bytes(content)
    folder = extract(tmp_path / 'a', tmp_path / 'out')
    assert (folder / 'deepbind' / 'TASK1' / 'test.fa').read_text() == fasta(20, 1)
    (tmp_path / 'plain').write_bytes(tar_bytes([('./x/y', 'text')], 'w'))
    assert (extract(tmp_path / 'plain', tmp_path / 'out') / 'x' / 'y').read_text() == 'text'
    assert not (folder / 'deepbind').exists()  # replaced as a whole


def special(name, kind, target='/etc/passwd'):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('../evil', "entry '../evil' leaves the folder"),
        ('ok/../../evil', 'leaves the folder'),
        ('/tmp/evil', 'leaves the folder'),
        ('ok\\..\\evil', 'leaves the folder'),
        (special('ok/link', tarfile.SYMTYPE), "entry 'ok/link' is a link or device"),
        (special('ok/hard', tarfile.LNKTYPE), 'is a link or device'),
        (special('ok/fifo', tarfile.FIFOTYPE), 'is a link or device'),
        (special('ok/device', tarfile.CHRTYPE), 'is a link or device'),
    ],
)
def test_unsafe_archives_are_refused(tmp_path, entry, message):
    folder = tmp_path / 'inner' / 'out'
    (tmp_path / 'a').write_bytes(tar_bytes([('ok/first', 'x'), (entry, '')]))
    with pytest.raises(InputError, match=message):
        extract(tmp_path / 'a', folder)
    assert not folder.exists()
    assert not list(tmp_path.rglob('*evil*')) and not list(tmp_path.rglob('*.tmp'))


def test_damaged_and_oversized_archives(content, tmp_path):
    file = tmp_path / 'a'
    for bad in (content[: len(content) // 2], gzip.decompress(content)[:3000], b'no archive', b''):
        file.write_bytes(bad)
        with pytest.raises(InputError, match='is not a whole tar archive|cannot be unpacked|truncated'):
            extract(file, tmp_path / 'out')
        assert not (tmp_path / 'out').exists()
    file.write_bytes(content)
    for limit in ({'max_bytes': 1000}, {'max_members': 2}):
        with pytest.raises(InputError, match='holds more than'):
            extract(file, tmp_path / 'out', **limit)
    file.write_bytes(tar_bytes([('twice', 'x'), ('twice', 'y')]))
    with pytest.raises(InputError, match='cannot be unpacked'):
        extract(file, tmp_path / 'out')
    with pytest.raises(InputError, match='missing: cannot be read'):
        extract(tmp_path / 'missing', tmp_path / 'out')


def test_prepare_fetches_unpacks_and_reads(content, tmp_path, monkeypatch):
    cache = str(tmp_path / 'cache')
    with Server(content, cuts=1) as server:
        monkeypatch.setattr(downloads, 'DEEPMOTIF_108', server.archive())
        with pytest.raises(InputError, match='add --download'):
            sources.prepare_corpus(source='deepmotif108', cache=cache, progress=False)
        corpus = sources.prepare_corpus(source='deepmotif108', cache=cache, download=True, progress=False)
        assert corpus.tasks == ('TASK0', 'TASK1', 'TASK2')
        asked = len(server.asked)
        again = sources.prepare_corpus(source='deepmotif108', cache=cache, progress=False)
        assert again.fingerprint() == corpus.fingerprint() and len(server.asked) == asked
    # A copy already on disk: the archive, the folder it lies in, or the folder where it was unpacked.
    for place in ('cache/deepbind.tar.gz', 'cache'):
        local = sources.prepare_corpus(
            source='deepmotif108', input=[str(tmp_path / place)], cache=str(tmp_path / 'other'), progress=False
        )
        assert local.fingerprint() == corpus.fingerprint()
    unpacked = next((tmp_path / 'other').iterdir())
    local = sources.prepare_corpus(source='deepmotif108', input=[str(unpacked)], cache='unused', progress=False)
    assert local.fingerprint() == corpus.fingerprint()


def test_saving_never_replaces_another_corpus_silently(tmp_path):
    first, second = (
        sources.prepare_corpus(source='simulated', n_tasks=1, n_train=20, n_test=5, seed=seed) for seed in (0, 1)
    )
    out = tmp_path / 'corpus'
    sources.save_prepared(first, out)
    sources.save_prepared(first, out)
    with pytest.raises(InputError, match='holds another corpus; add --force'):
        sources.save_prepared(second, out)
    assert load_corpus(out).fingerprint() == first.fingerprint()
    sources.save_prepared(second, out, force=True)
    assert load_corpus(out).fingerprint() == second.fingerprint()
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('precious')
    with pytest.raises(InputError, match='is not a corpus, so it is not replaced'):
        sources.save_prepared(first, tmp_path / 'mine', force=True)
    assert (tmp_path / 'mine' / 'thesis.txt').read_text() == 'precious'


def test_bad_settings_of_prepare():
    for settings, message in (
        ({'source': 'magic'}, "source is 'magic', expected one of"),
        ({'source': 'simulated', 'n_tasks': 109}, 'n_tasks is 109, expected 1 to 108'),
        ({'source': 'simulated', 'jaspar': 'JASPAR1999'}, 'is not installed; pyjaspar has JASPAR2026'),
        ({'source': 'simulated', 'simulation': {'bogus': 1}}, 'simulation: .*bogus'),
        ({'source': 'bed', 'input': ['x.bed']}, 'needs --genome'),
        ({'source': 'deepmotif108', 'input': ['nowhere']}, 'nowhere: does not exist'),
    ):
        with pytest.raises(InputError, match=message):
            sources.prepare_corpus(**settings)


def test_the_command(tmp_path):
    folder = tmp_path / 'in' / 'MYTASK'
    folder.mkdir(parents=True)
    for part in ('train', 'test'):
        (folder / f'{part}.fa').write_text(fasta(20))
    good = run_command('prepare', '--source=deepmotif', f'--input={tmp_path / "in"}', f'--out={tmp_path / "out"}')
    assert good.status == 0, good.err
    assert 'MYTASK      18/18        2/2     20/20      25' in good.out
    assert load_corpus(tmp_path / 'out', verify=True).tasks == ('MYTASK',)
    bad = run_command('prepare', '--source=deepbind', f'--input={tmp_path / "in"}', f'--out={tmp_path / "bad"}')
    assert bad.status == 2 and bad.out == ''
    assert bad.err == f'error: {tmp_path / "in"}: holds no tasks, expected X_AC.seq.gz with X_B.seq.gz\n'
    assert not (tmp_path / 'bad').exists()
