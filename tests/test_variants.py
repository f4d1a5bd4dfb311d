"""Files of variants as people bring them: what fits no model or genome is passed over, counted and listed.

What is left is scored as if the rest were not there.
"""

import gzip
import re

import numpy as np
import pytest

from demo_jax.data import names, variants
from demo_jax.data.genome import Genome
from demo_jax.errors import InputError
from demo_jax.io import files
from demo_jax.predict import variant_effects
from demo_jax.predict.scoring import choose_models
from tests.helpers_models import save_run
from tests.helpers_score import fasta, letters, other, read, vcf

TEXT = letters(90, 5)
FAR = letters(60, 6)


def at(position, text=TEXT):
    return text[position - 1]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp('variants') / 'run', ('small_cnn',))


@pytest.fixture(scope='module')
def models(run):
    return choose_models(run, ['one'])


def scored(models, folder, lines, *, strict=False, **sequences):
    """The scores of VCF lines on these sequences, and the rows of the table of what was passed over."""
    path, listed = folder / 'v.vcf', folder / 'v_skipped.tsv'
    path.write_text(vcf(*lines))
    fasta_path = fasta(folder / 'x.fa', **(sequences or {'chr1': TEXT, 'chr2': FAR, 'tiny': 'ACGTA'}))
    with variant_effects.skipped_table(listed) as enter:
        found = variant_effects.score_variants(
            models, path, fasta_path, strict=strict, passed_over=enter, progress=False
        )
    return found, files.read_tsv(listed) if listed.exists() else []


#: Lines that can be scored, and lines of every kind that cannot, with the reason.
GOOD = [('chr1', 45, 'rs1', at(45), other(at(45))), ('chr2', 30, 'rs2', at(30, FAR), f'{at(30, FAR)}GG')]
REASONS = [
    (('chr2', 0, 'bnd', 'N', '.[chr1:100['), variants.SYMBOLIC, 'has no letters'),
    (('chr1', 0, '.', 'N', ']chr2:5]A'), variants.SYMBOLIC, 'has no letters'),
    (('chr1', 0, '.', 'R', '<DEL>'), variants.SYMBOLIC, 'has no letters'),
    (('chr1', 91, '.', 'N', 'N.'), variants.SYMBOLIC, 'has no letters'),
    (('chr9', 5, '.', 'A', '*'), variants.DELETED, 'has no letters'),
    (('chr1', 7, '.', at(7), '.'), variants.NO_ALLELE, 'has no letters'),
    (('chr1', 0, '.', 'N', 'A'), variants.TELOMERE, "position is '0', expected a whole number from 1"),
    (('chr1', 9, '.', 'R', 'A'), variants.AMBIGUOUS, "ref is 'R', expected letters ACGTN"),
    (('chr1', 9, '.', at(9), 'am'), variants.AMBIGUOUS, "alt is 'am', expected letters ACGTN"),
    (('chr1', 9, '.', at(9), '-'), variants.NOT_DNA, "alt is '-', expected letters ACGTN"),
    (('NC_1', 9, '.', 'A', 'C'), variants.UNKNOWN, "sequence 'NC_1' is not in .*x.fa, which has 'chr1'"),
    (('chrUn', 9, '.', 'A', 'C'), variants.UNKNOWN, "sequence 'chrUn' is not in .* which has 'chr1', 'chr2', 'tiny'$"),
    (('chr1', 91, '.', 'A', 'C'), variants.BEYOND, "position 91 with REF 'A' lies beyond the 90 letters of 'chr1'"),
    (('chr1', 90, '.', f'{at(90)}A', 'C'), variants.BEYOND, "position 90 with REF '..' lies beyond the 90 letters"),
    (('chr1', 9, '.', other(at(9)), other(at(9), 2)), variants.DIFFERENT, f"has '{at(9)}' at chr1:9$"),
    (('chr1', 9, '.', other(at(9)), at(9)), variants.SWAPPED, f"has '{at(9)}' at chr1:9, which agrees with ALT$"),
    (('chr1', 20, '.', at(20), 'A' * 31), 'allele longer than 30 letters', 'has an allele of 31 letters'),
    (('tiny', 1, '.', 'A', 'C'), 'sequence shorter than 18 letters', 'tiny:1: its sequence has 5 letters'),
]


def test_every_kind_is_passed_over_counted_and_listed(models, tmp_path):
    alone, none = scored(models, tmp_path, GOOD)
    assert none == [] and alone.skipped == {} and not (tmp_path / 'v_skipped.tsv').exists()
    bad = [line for line, _, _ in REASONS]
    found, rows = scored(models, tmp_path, [*bad[:9], GOOD[0], *bad[9:], GOOD[1]])
    assert [variant[1:] for variant in found.variants] == [variant[1:] for variant in alone.variants]
    np.testing.assert_array_equal(found.ref, alone.ref)
    np.testing.assert_array_equal(found.alt, alone.alt)
    assert list(rows[0]) == ['line', 'id', 'sequence', 'position', 'ref', 'alt', 'reason', 'detail']
    assert [int(row['line']) for row in rows] == [*range(3, 12), *range(13, 22)]  # after two lines of header
    counts = {}
    for row, ((sequence, position, id_, ref, alt), reason, detail) in zip(rows, REASONS, strict=True):
        assert [row[name] for name in ('id', 'sequence', 'position', 'ref', 'alt', 'reason')] == [
            id_.replace('.', ''),
            sequence,
            str(position),
            ref,
            alt,
            reason,
        ]
        assert re.search(detail, row['detail'])
        counts[reason] = counts.get(reason, 0) + 1
    assert found.skipped == counts and counts[variants.SYMBOLIC] == 4 and found.unknown == ['NC_1', 'chrUn']


@pytest.mark.parametrize('line, reason, detail', REASONS)
def test_strict_refuses_what_has_letters(models, tmp_path, line, reason, detail):
    passed_anyway = (variants.SYMBOLIC, variants.DELETED, variants.NO_ALLELE, 'allele longer than 30 letters')
    if reason in passed_anyway:
        assert scored(models, tmp_path, [*GOOD, line], strict=True)[0].skipped == {reason: 1}
        return
    with pytest.raises(InputError, match=f'v.vcf: line 5: .*{detail}'):
        scored(models, tmp_path, [*GOOD, line], strict=True)
    assert not (tmp_path / 'v_skipped.tsv').exists()


def test_one_allele_of_several_is_passed_over(models, tmp_path):
    position, ref = 45, at(45)
    found, rows = scored(models, tmp_path, [('chr1', position, 'rs', ref, f'{other(ref)},<DEL>,W,{other(ref, 2)}')])
    assert [variant.alt for variant in found.variants] == [other(ref), other(ref, 2)]
    assert [(row['alt'], row['reason']) for row in rows] == [('<DEL>', variants.SYMBOLIC), ('W', variants.AMBIGUOUS)]


def test_what_was_passed_over_can_be_mended_and_given_again(models, tmp_path):
    wrong = other(at(45))
    _, rows = scored(models, tmp_path, [*GOOD, ('chr1', 45, 'rs9', wrong, at(45))])
    mended = tmp_path / 'v_skipped.tsv'
    mended.write_text(mended.read_text().replace(f'{wrong}\t{at(45)}', f'{at(45)}\t{wrong}'))
    ((variant,), passed) = read(mended)
    assert len(rows) == 1 and passed == [] and tuple(variant) == (2, 'rs9', 'chr1', 45, at(45), wrong)


@pytest.mark.parametrize(
    'ref, alt, reason',
    [
        ('G', 'T', variants.DIFFERENT),
        ('T', 'C', variants.SWAPPED),
        ('TT', 'GA', variants.DIFFERENT),
        ('TGG', 'CA', variants.SWAPPED),
        ('TT', 'CAAA', variants.DIFFERENT),
        ('CTT', 'C', variants.DIFFERENT),  # that the base before a deletion agrees says nothing
    ],
)
def test_swapped_alleles_are_told_from_wrong_ones(models, tmp_path, ref, alt, reason):
    """The genome has CAGT at the place."""
    text = f'{TEXT[:44]}CAGT{TEXT[48:]}'
    found, rows = scored(models, tmp_path, [('s', 3, '.', text[2], other(text[2])), ('s', 45, '.', ref, alt)], s=text)
    assert found.skipped == {reason: 1} and len(rows) == 1


def test_when_nothing_is_left_the_counts_are_told(models, tmp_path):
    with pytest.raises(InputError) as caught:
        scored(
            models,
            tmp_path,
            [('chr1', 9, '.', other(at(9)), at(9)), ('chr1', 10, '.', at(10), 'R'), ('chr1', 11, '.', at(11), 'Y')],
        )
    message = str(caught.value)
    assert message.startswith(f'{tmp_path}/v.vcf: holds no variants that can be scored (passed over: 1 REF that')
    assert '2 allele with an IUPAC letter; the first, line 3, REF is' in message and '\n' not in message
    assert not (tmp_path / 'v_skipped.tsv').exists()
    with pytest.raises(InputError, match='holds no variants that can be scored$'):
        scored(models, tmp_path, [])


@pytest.mark.parametrize(
    'there, here, hint', [('CHR1', 'chr1', "; 'chr1' may be called 'CHR1' there"), ('NC_000001.11', 'chr1', '$')]
)
def test_a_file_that_meets_no_sequence_is_refused(models, tmp_path, there, here, hint):
    lines = [(here, 45, '.', 'A', 'C'), (here, 5, '.', 'A', '<DEL>'), (here, 6, '.', 'A', 'A' * 40)]
    with pytest.raises(
        InputError,
        match=rf"v.vcf: none of its chromosomes \('{here}', \.\.\.\) is in .*x.fa "
        rf"\('{there}', \.\.\.\){hint}",
    ):
        scored(models, tmp_path, lines, **{there: TEXT})


def test_lines_are_read_however_they_are_packed_and_ordered(models, tmp_path):
    lines = [*GOOD, ('chr1', 20, 'rs3', at(20), other(at(20)))]
    expected, _ = scored(models, tmp_path, lines)
    body = ''.join('\t'.join(map(str, line)) + '\n' for line in lines[::-1])  # unsorted, without any header
    members = [gzip.compress(part.replace('\n', '\r\n').encode()) for part in (body[:25], body[25:])]
    (tmp_path / 'packed.vcf.gz').write_bytes(b''.join(members))
    notes = []
    found = variant_effects.score_variants(
        models, tmp_path / 'packed.vcf.gz', tmp_path / 'x.fa', say=notes.append, progress=False
    )
    assert [variant[1:] for variant in found.variants] == [variant[1:] for variant in expected.variants[::-1]]
    np.testing.assert_allclose(found.alt, expected.alt[:, ::-1], atol=1e-5)
    (note,) = notes
    assert 'packed.vcf.gz: has no header line' in note and '\n' not in note


def test_chromosomes_are_matched_with_and_without_chr(models, tmp_path):
    plain = [('1', *line[1:]) for line in (GOOD[0], ('chr1', 20, 'rs3', at(20), other(at(20))))]
    expected, _ = scored(models, tmp_path, [('chr1', *line[1:]) for line in plain])
    notes = []
    (tmp_path / 'v.vcf').write_text(vcf(*plain))
    found = variant_effects.score_variants(
        models, tmp_path / 'v.vcf', tmp_path / 'x.fa', say=notes.append, progress=False
    )
    np.testing.assert_array_equal(found.alt, expected.alt)
    assert {variant.sequence for variant in found.variants} == {'1'}  # as its own file calls it
    (note,) = notes
    assert "'1' is called 'chr1' in" in note
    other_way = ('chr7', 4, '.', at(4, FAR), other(at(4, FAR)))
    assert not scored(models, tmp_path, [*GOOD, other_way], chr1=TEXT, chr2=FAR, **{'7': FAR})[1]
    _, rows = scored(models, tmp_path, [*GOOD, ('MT', 4, '.', 'A', 'C')], chr1=TEXT, chr2=FAR, chrMT=FAR, chrM=FAR)
    assert [row['reason'] for row in rows] == [variants.UNKNOWN]  # it may be either


def normal_forms(text, changed):
    """All ways to write a change of one text into another, fewest letters first, then from the left."""
    forms = []
    for first in range(len(text)):
        for length in range(1, len(text) - first + 1):
            width = length + len(changed) - len(text)
            alt = changed[first : first + width]
            if width > 0 and text[:first] + alt + text[first + length :] == changed:
                forms.append((length + width, first + 1, text[first : first + length], alt))
    return [form[1:] for form in sorted(forms)]


def test_every_way_to_write_an_allele_has_one_normal_form(tmp_path):
    rng = np.random.default_rng(3)
    for _ in range(25):
        letters_of = list('ACGT'[: rng.integers(1, 5)])
        text = ''.join(rng.choice(letters_of, rng.integers(3, 9)))
        first = int(rng.integers(0, len(text)))
        behind = int(rng.integers(first + 1, len(text) + 1))
        changed = text[:first] + ''.join(rng.choice(letters_of, rng.integers(1, 4))) + text[behind:]
        if changed == text:
            continue
        genome = Genome(fasta(tmp_path / 'n.fa', s=text))
        forms = normal_forms(text, changed)
        for form in forms:
            assert variants.normalised(genome, variants.Variant(1, '', 's', *form))[3:] == forms[0]
        genome.close()


def test_an_indel_scores_alike_however_it_is_written(models, tmp_path):
    text = f'{TEXT[:40]}CAGAGAGAGT{TEXT[50:]}'
    left, middle, long = (41, 'CAG', 'C'), (43, 'GAG', 'G'), (41, 'CAGAGAGAGT', 'CAGAGAGT')
    more = (45, 'G', 'GAG'), (41, 'C', 'CAG')
    found, _ = scored(
        models, tmp_path, [('s', at, '.', *alleles) for at, *alleles in (left, middle, long, *more)], s=text
    )
    np.testing.assert_array_equal(found.alt[:, :2], found.alt[:, 1:3])
    np.testing.assert_array_equal(found.alt[:, 3], found.alt[:, 4])
    assert [variant.position for variant in found.variants] == [41, 43, 41, 45, 41]  # as the file has them
    assert np.abs(found.alt[0, 0] - found.alt[0, 3]) > 1e-3


def test_chromosomes_are_spelt_in_two_ways():
    known = {'chr1': 1, 'chrX': 2, '7': 3}
    assert [names.other_spelling(name, known) for name in ('1', 'X', 'chr7', 'Chr1', 'chr2', '2')] == [
        'chr1',
        'chrX',
        '7',
        'chr1',
        None,
        None,
    ]


def test_the_command_lists_what_it_passes_over(run, tmp_path, call, capsys):
    path = fasta(tmp_path / 'x.fa', chr1=TEXT)
    swapped = ('chr1', 10, '.', other(at(10)), at(10))
    packed = tmp_path / 'v.vcf.gz'
    packed.write_bytes(gzip.compress(vcf(GOOD[0], swapped, ('chrZ', 4, '.', 'A', 'C'), swapped).encode()))
    out, listed = tmp_path / 'new' / 'o.tsv', tmp_path / 'new' / 'o_skipped.tsv'
    flags = {'run': str(run.directory.path), 'fasta': str(path), 'out': str(out), 'tasks': ['one']}
    call(variants=str(packed), **flags)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith(('passed over', 'variant scores'))] == [
        f'passed over: 2 {variants.SWAPPED}',
        f"passed over: 1 {variants.UNKNOWN}: 'chrZ', ...",
        f'passed over, one by one: {listed}',
        f'variant scores: {out}',
    ]
    assert [row['line'] for row in files.read_tsv(listed)] == ['4', '5', '6'] and len(files.read_tsv(out)) == 1
    with pytest.raises(InputError, match=r'v.vcf.gz: line 4: REF is'):
        call(variants=str(packed), strict=True, **flags)
    with pytest.raises(InputError, match='o_skipped.tsv: is an input file, choose another --out'):
        call(variants=str(listed), **flags)
    with pytest.raises(InputError, match='--strict goes with --variants'):
        call(strict=True, **flags)
    (tmp_path / 'v.vcf').write_text(vcf(GOOD[0]))
    call(variants=str(tmp_path / 'v.vcf'), **flags)  # what an earlier call listed is of another file
    assert sorted(p.name for p in out.parent.iterdir()) == ['o.tsv']
    assert capsys.readouterr().out.splitlines()[-1] == f'variant scores: {out}'
