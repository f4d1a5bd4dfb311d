"""The readers that are fed damaged files: small files that look real, and what a result of each must hold.

A reader is made in an empty folder, where it writes its `files`; `read` reads them, and raises AssertionError where
the result does not hold together; `tidy` removes what reading has left.
"""

import gzip
import io
import pathlib
import random
import shutil
import tarfile
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from Bio import bgzf

from demo_jax import dna
from demo_jax.data import download, intervals, storage, variants
from demo_jax.data.genome import Genome as GenomeFasta
from demo_jax.data.readers import read_corpus
from demo_jax.errors import InputError
from demo_jax.io import arrays, files, textfile
from demo_jax.io.settings import read_settings
from demo_jax.motifs import formats
from demo_jax.predict import windows
from demo_jax.runs.done import Made
from tests.helpers import check_corpus, check_motifs, make_run, small_corpus, small_rnn_shapes


class Reader:
    """What all have: see the module."""

    heavy: ClassVar[bool] = False
    files: Sequence[str] = ()

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.rng = random.Random(0)
        self.make()

    @classmethod
    def prepare(cls) -> None:
        """Import what takes long, once."""

    def make(self) -> None:
        """Write the files."""

    def read(self) -> None:
        """Read them, and look at the result."""
        raise NotImplementedError

    def tidy(self) -> None:
        """Remove what reading has left."""

    def sequences(self, count: int, length: int = 30) -> list[str]:
        """Random letters, now and then in lower case or N."""
        return [''.join(self.rng.choices('ACGTacgtN', [9, 9, 9, 9, 1, 1, 1, 1, 1], k=length)) for _ in range(count)]

    def write(self, name: str, text: str | bytes) -> None:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


class DeepBind(Reader):
    """`T_AC.seq.gz` with `T_B.seq.gz`, of which the second is not packed: readers go by the first bytes."""

    files = ('T_AC.seq.gz', 'T_B.seq.gz')

    def make(self) -> None:
        """A few positives, and half as many pairs."""
        header = 'FoldID\tEventID\tseq\tBound\n'
        train = [f'A\tseq_{i}\t{s}\t1\n' for i, s in enumerate(self.sequences(8))]
        test = [f'B\tseq_{i}\t{s}\t{i % 2}\n' for i, s in enumerate(self.sequences(6))]
        self.write('T_AC.seq.gz', gzip.compress((header + ''.join(train)).encode(), mtime=0))
        self.write('T_B.seq.gz', header + ''.join(test))

    def read(self) -> None:
        """A corpus of one task."""
        check_corpus(read_corpus('deepbind', [self.folder]))


class DeepMotif(Reader):
    """A folder with train.fa and test.fa."""

    files = ('some/TASK/train.fa', 'some/TASK/test.fa')

    def make(self) -> None:
        """Labels as headers, one sequence on two lines."""
        for name, count in zip(self.files, (8, 4), strict=True):
            lines = [f'> {i % 2}\n{s[:20]}\n{s[20:]}\n' for i, s in enumerate(self.sequences(count))]
            self.write(name, ''.join(lines))

    def read(self) -> None:
        """A corpus of one task."""
        check_corpus(read_corpus('auto', [self.folder]))


class Fasta(Reader):
    """A labelled FASTA file, gzipped, without a test file."""

    files = ('task.fa.gz',)

    def make(self) -> None:
        """Labels in several places of the header."""
        forms = ('>{}\n', '>peak{n} {}\n', '>{}|chr1\n', '>peak label={}\n')
        lines = [forms[i % 4].format(i % 2, n=i) + f'{s}\n' for i, s in enumerate(self.sequences(12))]
        self.write(self.files[0], gzip.compress(''.join(lines).encode(), mtime=0))

    def read(self) -> None:
        """A corpus of one task."""
        check_corpus(read_corpus('fasta', [self.folder / self.files[0]], test_fraction=0.3))


class ScoredFasta(Reader):
    """A FASTA file as it is scored: in parts, here of a few letters. What is read at once must be the same."""

    files = ('mine.fa',)

    def make(self) -> None:
        """Records of one line and of several."""
        lines = [
            f'>seq{i} x\n{s[:20]}\n{s[20:]}\n' if i % 2 else f'>seq{i}\n{s}\n'
            for i, s in enumerate(self.sequences(6, 50))
        ]
        self.write(self.files[0], ''.join(lines))

    def read(self) -> None:
        """Windows of 11 letters, and the same letters as `read_fasta` gives; refused by both or by neither."""
        path, usual = self.folder / self.files[0], textfile.PART
        try:
            records = [dna.encode(record.letters) for record in textfile.read_fasta(path)]
        except InputError:
            records = None
        textfile.PART = self.rng.choice([5, 17, 64])  # a byte-order mark is looked for in the first
        try:
            found: list[list[np.ndarray]] = []
            for stretch in windows.read_stretches(path, 11, 3):
                if stretch.number > len(found):
                    found.append([])
                found[-1].append(stretch.tokens[sum(map(len, found[-1])) - stretch.first :])
                assert (stretch.starts >= stretch.first).all() and len(stretch.known) == len(stretch.starts)
        except InputError:
            assert records is None, 'refused in parts, read at once'
            raise
        finally:
            textfile.PART = usual
        assert records is not None, 'read in parts, refused at once'
        assert [np.concatenate(parts).tolist() for parts in found] == [record.tolist() for record in records]


class _OnGenome(Reader):
    """Peaks on two chromosomes of a small genome."""

    def make(self) -> None:
        """Genome, narrowPeak, and a blacklist."""
        lines = []
        for chrom in ('chr1', 'chr8'):
            (letters,) = self.sequences(1, 600)
            lines += [f'>{chrom} something\n', *(f'{letters[at : at + 60]}\n' for at in range(0, 600, 60))]
        self.write('genome.fa', ''.join(lines))
        peaks = [
            f'chr{(1, 1, 8)[k % 3]}\t{40 + 40 * k}\t{80 + 40 * k}\t.\t0\t.\t{k}.5\t-1\t-1\t20\n' for k in range(10)
        ]
        self.write('x.narrowPeak', 'track type=narrowPeak\n' + ''.join(peaks))
        self.write('black.bed', '# regions\nchr1\t150\t170\nchr8 500 510 name 3\n')

    def read(self) -> None:
        """A corpus of one task, with negatives out of the genome or shuffled."""
        options = intervals.PeakOptions(
            self.folder / 'genome.fa',
            width=21,
            blacklist=self.folder / 'black.bed',
            negatives='gc' if self.rng.random() < 0.02 else 'shuffle',
        )
        corpus = read_corpus('bed', [self.folder / 'x.narrowPeak'], peaks=options, test_fraction=0.3)
        check_corpus(corpus)
        assert set(np.asarray(corpus.lengths)) == {21}


class Peaks(_OnGenome):
    """The peaks damaged."""

    files = ('x.narrowPeak',)


class Blacklist(_OnGenome):
    """The blacklist damaged."""

    files = ('black.bed',)


class Genome(_OnGenome):
    """The genome damaged."""

    files = ('genome.fa',)


class PackedGenome(_OnGenome):
    """The genome block-gzipped, and damaged; or its letters damaged, and gzipped without blocks."""

    files = ('genome.fa',)

    def make(self) -> None:
        """As before, in blocks of 200 letters."""
        super().make()
        data = (self.folder / 'genome.fa').read_bytes()
        with bgzf.BgzfWriter(str(self.folder / 'genome.fa')) as packed:
            for start in range(0, len(data), 200):
                packed.write(data[start : start + 200])
                packed.flush()


class Variants(Reader):
    """A VCF, or a table of variants, with the sequences they refer to."""

    files = ('v.vcf.gz', 'v.tsv', 'seq.fa')

    def make(self) -> None:
        """Substitutions, insertions, and alleles without letters."""
        letters = self.sequences(2, 200)
        self.write('seq.fa', ''.join(f'>s{i} text\n{s}\n' for i, s in enumerate(letters)))
        upper = [s.upper().replace('N', 'A') for s in letters]
        self.write('seq.fa', ''.join(f'>s{i} text\n{s}\n' for i, s in enumerate(upper)))
        rows = [(i % 2, 20 * (i + 1)) for i in range(8)]
        alts = ('A', 'C,G', 'T', '<DEL>', 'ACGT', '*', 'G,.', 'N')
        cells = [(f's{s}', p, upper[s][p - 1 : p + (i % 2)], alts[i]) for i, (s, p) in enumerate(rows)]
        vcf = ['##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n']
        vcf += [f'{s}\t{p}\trs{p}\t{ref}\t{alt}\t.\tPASS\tDP=3\n' for s, p, ref, alt in cells]
        self.write('v.vcf.gz', gzip.compress(''.join(vcf).encode(), mtime=0))
        self.write(
            'v.tsv',
            'id\tposition\tsequence\talt\tref\n'
            + ''.join(f'x\t{p}\t{s}\t{alt}\t{ref}\n' for s, p, ref, alt in cells if alt[0] in 'ACGT'),
        )

    def read(self) -> None:
        """Both alleles of every variant."""
        for name in self.files[:2]:
            fasta = GenomeFasta(self.folder / 'seq.fa')
            for variant in variants.read_variants(self.folder / name):
                if isinstance(variant, variants.Skipped):
                    assert variant.reason and variant.detail.isprintable()
                    continue
                assert variant.position >= 1 and set(variant.ref + variant.alt) <= set('ACGTN')
                if max(len(variant.ref), len(variant.alt)) <= 41:
                    alleles = variants.cut_alleles(fasta, name, variant, 41)
                    assert len(alleles.ref) <= 41 and len(alleles.alt) <= 41


class Meme(Reader):
    """Motifs in MEME's format."""

    files = ('m.meme',)

    def make(self) -> None:
        """Three motifs."""
        rng = np.random.default_rng(0)
        motifs = {name: rng.dirichlet([0.5] * 4, size=4) for name in ('one', 'two words', '#3')}
        formats.write_meme(self.folder / 'm.meme', motifs)

    def read(self) -> None:
        """Finite matrices."""
        check_motifs(formats.read_meme(self.folder / 'm.meme'))


class Jaspar(Reader):
    """Motifs in JASPAR's format."""

    files = ('m.jaspar',)

    def make(self) -> None:
        """Three motifs."""
        rng = np.random.default_rng(0)
        formats.write_jaspar(
            self.folder / 'm.jaspar', {name: rng.integers(0, 50, (5, 4)) for name in ('MA0001.1', 'b c', 'd')}
        )

    def read(self) -> None:
        """Finite matrices."""
        check_motifs(formats.read_jaspar(self.folder / 'm.jaspar'))


class Bed(Reader):
    """Windows as BED6."""

    files = ('w.bed',)

    def make(self) -> None:
        """Six windows."""
        rows = [formats.BedRow(f'chr{i}', 10 * i, 10 * i + 9, f'task {i}', 100 * i, '+-'[i % 2]) for i in range(6)]
        formats.write_bed(self.folder / 'w.bed', rows)

    def read(self) -> None:
        """Rows that can be written again."""
        for row in formats.read_bed(self.folder / 'w.bed'):
            assert 0 <= row.start <= row.stop and row.strand in '+-.'


class Array(Reader):
    """`.npz` and `.npy` files of arrays."""

    files = ('a.npz', 'b.npy')

    def make(self) -> None:
        """Compressed and plain."""
        rng = np.random.default_rng(0)
        formats.write_modisco(
            self.folder / 'a.npz',
            self.folder / 's.npz',
            rng.normal(size=(3, 8, 4)),
            rng.integers(0, 4, (3, 8)).astype(np.uint8),
        )
        np.save(self.folder / 'b.npy', rng.normal(size=40).astype(np.float32), allow_pickle=False)

    def read(self) -> None:
        """No objects."""
        for found in (formats.read_arr_0(self.folder / 'a.npz'), arrays.read_npy(self.folder / 'b.npy')):
            assert not found.dtype.hasobject and found.nbytes < 1 << 24


class StoredCorpus(Reader):
    """A corpus folder."""

    files = tuple(
        f'corpus/{name}'
        for name in (
            'manifest.json',
            'tokens.npy',
            'starts.npy',
            'labels.npy',
            'pairs.npy',
            'bounds.npy',
            'name_bytes.npy',
            'name_starts.npy',
            'intervals.npy',
            'sites.npy',
        )
    )

    def make(self) -> None:
        """Two tasks with places and sites."""
        storage.save_corpus(small_corpus(), self.folder / 'corpus')

    def read(self) -> None:
        """All that a corpus can do."""
        corpus = storage.load_corpus(self.folder / 'corpus', verify=self.rng.random() < 0.2)
        check_corpus(corpus)
        corpus.select(corpus.tasks[::-1])
        corpus.fingerprint()


class Tables(Reader):
    """A table of ours."""

    files = ('t.tsv',)

    def make(self) -> None:
        """Text and numbers."""
        rows = [{'task': f't{i}', 'spec': 'medium_cnn', 'auroc': i / 7, 'n': i} for i in range(12)]
        files.write_tsv(self.folder / 't.tsv', rows, ('task', 'spec', 'auroc', 'n'))

    def read(self) -> None:
        """Cells of text, as many as the header has."""
        for row in files.read_tsv(self.folder / 't.tsv', ('task',)):
            assert all(isinstance(cell, str) and not set('\t\n') & set(cell) for cell in row.values())


class Settings(Reader):
    """The settings of a run, as config.json keeps them and as --set gives them."""

    files = ('config.json', 'overrides.txt')

    def make(self) -> None:
        """A recipe and the settings of three stages."""
        import dataclasses

        recipe = dataclasses.asdict(self.kinds()['recipe']())
        config = {'recipe': recipe, 'simulation': {'gc': [0.4, 0.6], 'pair_tasks': ['x']}, 'seeds': [0, 1]}
        files.write_json(self.folder / 'config.json', config)
        self.write('overrides.txt', 'batch_size=64\nlearning_rate=0.001\nschedule=cosine\nreverse_complement=true\n')

    @staticmethod
    def kinds() -> dict[str, type]:
        """Section -> dataclass."""
        from demo_jax.data.simulate import SimulationSettings
        from demo_jax.training.jobs import Recipe

        return {'recipe': Recipe, 'simulation': SimulationSettings}

    heavy = True  # recipes come with jax

    @classmethod
    def prepare(cls) -> None:
        """Import jax."""
        cls.kinds()

    def read(self) -> None:
        """Dataclasses whose fields are of the right types."""
        from experiments.cli import parsed_settings

        config = files.read_json(self.folder / 'config.json')
        values = config if isinstance(config, dict) else {'recipe': config}
        for section, kind in self.kinds().items():
            checked(read_settings(kind, values.get(section, {}), section))
        with files.open_input(self.folder / 'overrides.txt') as handle:
            lines = [line[:200] for line in handle.read().decode('utf-8', 'replace').splitlines()]  # typed by hand
        checked(read_settings(self.kinds()['recipe'], parsed_settings([line for line in lines if line]), 'recipe'))


def checked(value: Any) -> None:
    """A dataclass of settings whose fields are of their defaults' types."""
    import dataclasses

    for field in dataclasses.fields(value):
        if field.default is not None and field.default is not dataclasses.MISSING:
            assert type(getattr(value, field.name)) is type(field.default), field.name


class Archives(Reader):
    """A tar archive."""

    files = ('a.tar.gz',)

    def make(self) -> None:
        """Two folders with files."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode='w:gz', format=tarfile.PAX_FORMAT) as tar:
            for name in ('deepbind/T/train.fa', 'deepbind/T/test.fa', 'deepbind/' + 'é' * 120):
                info = tarfile.TarInfo(name)
                info.size = 40
                tar.addfile(info, io.BytesIO(b'>1\n' + b'A' * 37))
        self.write('a.tar.gz', buffer.getvalue())

    def read(self) -> None:
        """Only plain files, inside the folder."""
        out = download.extract(self.folder / 'a.tar.gz', self.folder / 'out', max_bytes=10_000_000)
        for path in out.rglob('*'):
            assert not path.is_symlink() and (path.is_file() or path.is_dir())

    def tidy(self) -> None:
        """Nothing may be left beside the archive but what was unpacked."""
        shutil.rmtree(self.folder / 'out', ignore_errors=True)
        left = [path.name for path in self.folder.iterdir() if path.name != 'a.tar.gz']
        assert left == [], left


class Explained(Reader):
    """The index and pieces of a run's explanations."""

    heavy = True
    files = (
        'run/explain/index.json',
        *(
            f'run/explain/{piece}/00000.npz'
            for piece in (
                'saliency',
                'temporal',
                'class_optimisation',
                'activations',
                'filters',
            )
        ),
    )

    @classmethod
    def prepare(cls) -> None:
        """Import jax."""
        import demo_jax.runs.explanations  # noqa: F401

    def make(self) -> None:
        """One model's pieces, zeros of the right shapes."""
        from demo_jax.runs.directory import RunDirectory
        from demo_jax.runs.explanations import PIECES, Explanations

        make_run(self.folder / 'run')
        run = RunDirectory(self.folder / 'run')
        store = Explanations(run)
        rows = run.corpus().rows('one', 'test')
        store.write_index(run.jobs()[:1], {'one': np.arange(rows.start, rows.stop)})
        sizes = {'N': rows.stop - rows.start, 'L': 20, 'F': 2, 'W': 9, 'R': 2, '4': 4}
        for name in self.files[1:]:
            piece = name.split('/')[2]
            shapes = {array: tuple(sizes[axis] for axis in axes) for array, axes in PIECES[piece].items()}
            zeros = {array: np.zeros(shape, np.float32) for array, shape in shapes.items()}
            store.save(piece, 0, zeros, Made({'a': 1}, {}))

    def read(self) -> None:
        """Arrays whose axes fit."""
        from demo_jax.runs.directory import RunDirectory
        from demo_jax.runs.explanations import PIECES, Explanations

        store = Explanations(RunDirectory(self.folder / 'run'))
        store.jobs()
        rows = store.rows('one')
        store.run.corpus().padded(rows)
        for name in self.files[1:]:
            piece = name.split('/')[2]
            assert store.load(piece, 0).keys() == PIECES[piece].keys()


class RunFolder(Reader):
    """A run directory: run.json, config.json, jobs.tsv and models."""

    heavy = True
    files = ('run/run.json', 'run/config.json', 'run/jobs.tsv', 'run/models/00000.npz', 'run/models/00001.npz')

    @classmethod
    def prepare(cls) -> None:
        """Import jax."""
        import demo_jax.predict.model  # noqa: F401
        import demo_jax.predict.run  # noqa: F401

    def make(self) -> None:
        """See `make_run`."""
        make_run(self.folder / 'run')

    def read(self) -> None:
        """Every model that the run names."""
        from demo_jax.predict.run import load_run

        run = load_run(self.folder / 'run')
        repr(run)
        shapes = {
            layer: {name: leaf.shape for name, leaf in leaves.items()} for layer, leaves in small_rnn_shapes().items()
        }
        for job in run.jobs:
            assert job.spec == 'small_rnn' and job.task in run.tasks
            model = run.model_of(job)
            found = {
                layer: {name: leaf.shape for name, leaf in leaves.items()} for layer, leaves in model.params.items()
            }
            assert found == shapes and model.length == 20


class CheckpointFolder(Reader):
    """The checkpoints of a training under way, as Orbax lays them out."""

    heavy = True

    @classmethod
    def prepare(cls) -> None:
        """Import jax and Orbax."""
        import demo_jax.runs.checkpoints  # noqa: F401

    def make(self) -> None:
        """One checkpoint of one job."""
        import jax

        from demo_jax.nn.models import SPECS
        from demo_jax.runs.checkpoints import opened
        from demo_jax.training import stack
        from demo_jax.training.state import Progress, Started

        shapes = stack.slot_shapes(SPECS['small_rnn'], 0)
        rng = np.random.default_rng(0)
        fill = lambda leaf: rng.integers(0, 9, leaf.shape).astype(leaf.dtype)  # noqa: E731
        job = Started(Progress(0, step=5), jax.tree.map(fill, shapes.model), jax.tree.map(fill, shapes.best))
        self.saved, self.place = self.folder / 'saved', self.folder / 'checkpoints'
        with opened(self.saved) as checkpoints:
            checkpoints.save([job], {0: 'small_rnn'}, {})
        self.tidy()
        self.expected = [np.asarray(leaf) for leaf in jax.tree.leaves((job.model, job.best))]
        found = [path for path in self.place.rglob('*') if path.is_file() and path.stat().st_size]
        self.files = sorted(str(path.relative_to(self.folder)) for path in found)

    def read(self) -> None:
        """The very arrays that were saved; a checkpoint that is passed over, with a note, counts as refused."""
        import jax

        from demo_jax.errors import InputError
        from demo_jax.runs import schema
        from demo_jax.runs.checkpoints import opened

        schema.check_links(self.place)  # as opening a run does
        with opened(self.place) as checkpoints:
            checkpoint, notes = checkpoints.restore()
        if checkpoint is None:
            raise InputError(notes[0] if notes else 'no checkpoint')
        (job,) = checkpoint.started.values()
        for leaf, expected in zip(jax.tree.leaves((job.model, job.best)), self.expected, strict=True):
            np.testing.assert_array_equal(leaf, expected)

    def tidy(self) -> None:
        """Back to the checkpoint as it was saved: reading removes one that it cannot read."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.saved, self.place)


READERS: dict[str, type[Reader]] = {
    'DeepBind files': DeepBind,
    'DeepMotif folder': DeepMotif,
    'labelled FASTA': Fasta,
    'FASTA to score': ScoredFasta,
    'peaks': Peaks,
    'blacklist': Blacklist,
    'genome': Genome,
    'packed genome': PackedGenome,
    'variants': Variants,
    'MEME motifs': Meme,
    'JASPAR motifs': Jaspar,
    'BED windows': Bed,
    'arrays': Array,
    'corpus folder': StoredCorpus,
    'tables': Tables,
    'archive': Archives,
    'settings': Settings,
    'explanations': Explained,
    'run directory': RunFolder,
    'checkpoints': CheckpointFolder,
}
