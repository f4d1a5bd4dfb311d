'use strict';
// The motifs that the stage discover found in a task: a list, and which sequences hold each.
(() => {
  const {el, svg} = demo;

  demo.found = (run, task) => {
    const {found} = task;
    if (!found) return el('section', {'aria-labelledby': 'found'}, el('h2', {id: 'found'}, 'Motifs found'), el('p', {class: 'empty'}, 'No seqlets yet (run the stage discover).'));
    const defaults = found.motifs.filter((motif) => motif.default), rest = found.motifs.filter((motif) => !motif.default);
    const others = [...new Set(rest.map((motif) => motif.method))];
    return el('section', {'aria-labelledby': 'found'},
      el('h2', {id: 'found'}, 'Motifs found'),
      el('p', {class: 'lead'}, 'Stretches that matter to a model, clustered by what they contribute. Above: the mean contribution of each letter. Below: the letters of the sites, under the JASPAR motif that they match best, aligned as by Tomtom (shaded).', defaults.length ? ` Of each architecture’s maps the best one comes first, by ${found.chosen_by}.` : ''),
      defaults.length ? list(run, task, defaults) : el('p', {class: 'empty'}, 'No motif in any map.'),
      others.length ? el('details', {}, el('summary', {}, `Motifs in ${others.length} other ${others.length > 1 ? 'maps' : 'map'}: ${others.map(demo.methodLabel).join(', ')}`), others.map((method) => list(run, task, rest.filter((motif) => motif.method === method)))) : null,
      reasons(run, found), spacings(run, found, defaults));
  };

  // The motifs of one map of each architecture.
  function list(run, task, motifs) {
    const specs = run.specs.filter((spec) => motifs.some((motif) => motif.spec === spec.spec));
    return el('div', {class: 'maps'}, specs.map((spec) => {
      const mine = motifs.filter((motif) => motif.spec === spec.spec);
      return el('div', {class: 'of-model'}, el('h3', {}, demo.key(demo.specPlace(run, spec.spec)), ` ${demo.modelLabel(task, spec)}: ${demo.methodLabel(mine[0].method)}`),
        expected(task, spec.spec, mine[0].method),
        el('div', {class: 'cards'}, mine.map((motif) => card(run, task, motif))));
    }));
  }

  function card(run, task, motif) {
    const target = motif.match && task.targets[motif.match.target];
    const label = `${motif.name}, ${demo.methodLabel(motif.method)}`;
    const side = motif.sign < 0 ? 'speaks against binding' : motif.source === 'neighbour' ? 'at a fixed distance from another motif' : null;
    const shown = motif.rows.filter((row) => task.sequences.some((one) => one.row === row));
    const share = motif.share === null ? null : `${demo.fixed(100 * motif.share, Math.abs(motif.share) < 0.1 ? 1 : 0)}% of the score`;
    return el('article', {class: 'card found'},
      el('p', {class: 'match'}, target ? `${target.name} ` : 'Unknown ', target ? el('span', {class: 'soft'}, motif.match.target) : null, motif.own ? el('span', {class: 'badge'}, 'own TF') : null, el('span', {class: 'soft'}, ` (${motif.name})`)),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label},
        contributions(motif.heights, `${label}: mean contributions`),
        target ? demo.alignment(motif.matrix, target.matrix, motif.match, label) : demo.logoFigure(motif.matrix, label, {step: 14, height: 40})),
      el('p', {class: 'numbers'}, [`${demo.count(motif.sites)} sites in ${demo.count(motif.sequences)} of ${demo.count(motif.of)} sequences`, share, `mean contribution ${demo.signed(motif.contribution)}`].filter(Boolean).join(', '), side ? `; ${side}` : ''),
      el('p', {class: 'numbers'}, [motif.match ? `q ${demo.pValue(motif.match.q)}` : null, `found in ${motif.seen_in} of ${motif.looked_in} maps of this task`].filter(Boolean).join(', ')),
      profile(motif.profile, label),
      shown.length ? el('details', {}, el('summary', {}, `Sequences that hold it (${shown.length} on this page)`),
        el('p', {}, shown.map((row, at) => [at ? ', ' : '', el('a', {href: demo.link(['task', task.name, 'sequence', row])}, task.sequences.find((one) => one.row === row).name)]))) : null);
  }

  // What a matched simulation lets one expect of this map.
  function expected(task, spec, method) {
    const row = task.found.trust.find((one) => one.spec === spec && one.method === method);
    if (!row) return null;
    const percent = (value) => (value === null ? '–' : `${demo.fixed(100 * value, 0)}%`);
    const recall = (kind) => `${percent(row[`${kind}_recall`])} (${percent(row[`${kind}_recall_low`])} to ${percent(row[`${kind}_recall_high`])})`;
    return el('p', {class: 'numbers'}, `In a matched simulation as many seqlets as here found ${recall('seqlet')} of the sites that the map shows and ${percent(row.seqlet_fdr)} of them were false; as many hits ${recall('hit')} and ${percent(row.hit_fdr)}; ${percent(row.motif_recall)} of the motifs were found, ${demo.count(row.invented)} invented.`);
  }

  // Letters as high as they contribute, those against binding below the line.
  function contributions(heights, label) {
    const palette = demo.palette();
    const step = 14, height = 44;
    const sum = (keep) => Math.max(...heights.map((column) => column.filter(keep).reduce((total, value) => total + Math.abs(value), 0)), 0);
    const up = sum((value) => value > 0), down = sum((value) => value < 0);
    const unit = height / (up + down || 1), line = up * unit;
    const picture = svg('svg', {viewBox: `0 0 ${heights.length * step} ${height + 2}`, width: heights.length * step, height: height + 2, role: 'img', 'aria-label': label, class: 'logo contributions'});
    heights.forEach((column, place) => {
      let above = line, below = line;
      column.map((value, letter) => [value, 'ACGT'[letter]]).sort((a, b) => Math.abs(a[0]) - Math.abs(b[0])).forEach(([value, letter]) => {
        const size = Math.abs(value) * unit;
        if (size < 0.4) return;
        if (value > 0) above -= size;
        picture.append(demo.glyph(letter, place * step + step * 0.04, value > 0 ? above : below, step * 0.92, size, palette.letters[letter]));
        if (value < 0) below += size;
      });
    });
    picture.append(svg('line', {x1: 0, x2: heights.length * step, y1: line, y2: line, stroke: palette.line}));
    return picture;
  }

  // Where along the sequence its sites lie.
  function profile(counts, label) {
    const palette = demo.palette();
    const most = Math.max(...counts, 1), width = 160, height = 22, step = width / counts.length;
    const peak = counts.indexOf(Math.max(...counts));
    return el('figure', {class: 'profile'}, svg('svg', {viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': `${label}: positions of its sites, most in part ${peak + 1} of ${counts.length}`},
      counts.map((count, at) => svg('rect', {x: at * step + 0.5, width: step - 1, y: height - count / most * (height - 2), height: count / most * (height - 2), fill: palette.accent})),
      svg('line', {x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5, stroke: palette.line})),
      el('figcaption', {class: 'soft'}, 'start to end of the sequences'));
  }

  function reasons(run, found) {
    if (!found.empty.length) return null;
    const label = (spec) => (run.specs.find((one) => one.spec === spec) || {label: spec}).label;
    return el('p', {class: 'note'}, 'Without a motif: ', found.empty.map((one) => `${demo.methodLabel(one.method)} of ${label(one.spec)} (${one.note})`).join('; '), '.');
  }

  function spacings(run, found, defaults) {
    const shown = new Set(defaults.map((motif) => `${motif.spec} ${motif.method}`));
    const rows = found.spacings.filter((row) => shown.has(`${row.spec} ${row.method}`) && row.first !== row.second);
    if (!rows.length) return null;
    const label = (spec) => (run.specs.find((one) => one.spec === spec) || {label: spec}).label;
    const gap = (row) => (Number(row.gap) < 0 ? `${-Number(row.gap) - 1} bp upstream` : `${row.gap} bp downstream`);
    return demo.table('Motifs that occur together, or at a preferred distance', [
      {label: 'Motifs', cell: (row) => `${row.first}, ${row.second}`},
      {label: 'Model', cell: (row) => label(row.spec)},
      {label: 'Together', number: true, cell: (row) => demo.besides(demo.count(Number(row.together)), `expected ${demo.fixed(Number(row.expected), 0)}, q ${demo.pValue(Number(row.q_together))}`)},
      {label: 'Most frequent gap', cell: (row) => `${gap(row)}, ${row.same_strand === '1' ? 'same strand' : 'other strand'}`},
      {label: 'Pairs with it', number: true, cell: (row) => demo.besides(demo.count(Number(row.pairs)), `shuffled ${demo.fixed(Number(row.expected_pairs), 1)}, q ${demo.pValue(Number(row.q_spacing))}`)},
    ], rows, {footnote: 'The second motif’s sites were dealt to other sequences that have it, to see how often the most frequent gap occurs by chance.'});
  }
})();
