'use strict';
// One task: known motif, what the models learned, and how well they do.
(() => {
  const {el} = demo;
  demo.views.task = (run, task, place) => {
    const entry = run.tasks[place];
    const interval = (spec) => task.interval[spec] || [null, null, null];
    return el('div', {class: 'task'},
      el('section', {class: 'intro'},
        el('p', {class: 'eyebrow'}, `Task ${place + 1} of ${run.tasks.length}`),
        el('h1', {tabindex: '-1'}, task.name),
        el('p', {class: 'lead'}, `${task.protein}: ${demo.count(entry.n_train)} sequences to train on, ${demo.count(task.n_test)} to test with.`,
          task.protein_how ? el('span', {class: 'soft'}, ` TF: ${task.protein_how}.`) : null),
        el('div', {class: 'actions'},
          task.sequences.length ? el('a', {class: 'button', href: demo.link(['task', task.name, 'sequence', task.sequences[0].row])}, `Look at ${task.sequences.length} sequences`) : null,
          neighbour(run, place - 1, '← Previous task'), neighbour(run, place + 1, 'Next task →'))),
      task.sequences.length ? null : el('p', {class: 'notices'}, 'No sequence of this task is explained (run the stage explain).'),
      el('section', {'aria-labelledby': 'known'},
        el('h2', {id: 'known'}, 'What the TF binds, and what the models look for'),
        known(run, task), optima(run, task)),
      demo.found(run, task),
      demo.grammar(run, task),
      motifs(run, task),
      el('section', {'aria-labelledby': 'measures'},
        el('h2', {id: 'measures'}, 'How well the models do'),
        task.roc.length || task.curves.length ? charts(run, task, interval) : el('p', {class: 'empty'}, 'The models are not scored yet (run the stage evaluate).')),
      findings(run, task));
  };

  function neighbour(run, place, label) {
    const task = run.tasks[place];
    return task ? el('a', {class: 'button quiet', href: demo.link(['task', task.name]), title: task.name}, label) : null;
  }

  function known(run, task) {
    if (task.own === null) return el('p', {class: 'empty'}, 'Not compared with JASPAR yet (run the stage match).');
    if (!task.own.length) return el('p', {class: 'empty'}, `${run.release} has no matrix of ${task.protein} itself.`);
    return el('div', {class: 'logos'}, task.own.map((matrix) => el('figure', {},
      el('figcaption', {}, `${matrix.name} `, el('span', {class: 'soft'}, `${matrix.id}, ${run.release}, ${matrix.consensus}`)),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Logo of ${matrix.id}`}, demo.logoFigure(matrix.matrix, `JASPAR ${matrix.id}`, {step: 22, height: 72})),
      matrix.paper ? el('p', {class: 'soft'}, `${matrix.paper}.`) : null,
      matrix.reached ? el('p', {class: 'soft'}, `Too short for the p-value asked for: its hits are its best words, p ${demo.pValue(matrix.reached)}.`) : null)));
  }

  function optima(run, task) {
    if (!task.models.length) return null;
    const sufficient = task.models.filter((model) => model.sufficient);
    const shown = task.models.filter((model) => model.optimum);
    return [sufficient.length ? [
      el('p', {class: 'soft'}, `Letters that suffice: the fewest bits of information whose sequences a model calls bound (a mean score of ${demo.signed(sufficient[0].sufficient.target)} or more).`),
      el('div', {class: 'logos'}, sufficient.map((model) => suffices(run, model, model.sufficient)))] : null,
    shown.length ? el('div', {class: 'optima'}, shown.map((model) => el('figure', {},
      el('figcaption', {}, demo.key(demo.specPlace(run, model.spec)), ` ${model.label} `, el('span', {class: 'soft'}, 'class-optimised sequence, bits')),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Class-optimised sequence of ${model.label}`},
        demo.logoFigure(model.optimum, `class-optimised sequence of ${model.label}`, {step: 10.5, height: 52, ticks: true})))))
      : el('p', {class: 'empty'}, 'No class-optimised sequences (run the stage explain).')];
  }

  function suffices(run, model, found) {
    const missed = found.reached ? '' : ', short of it';
    return el('figure', {},
      el('figcaption', {}, demo.key(demo.specPlace(run, model.spec)), ` ${model.label} `,
        el('span', {class: 'soft'}, `${found.bits.toFixed(1)} bits; mean score ${demo.signed(found.score)}${missed}, ${demo.signed(found.without)} without them`)),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `Letters that suffice for ${model.label}`},
        demo.logoFigure(found.matrix, `letters that suffice for ${model.label}`, {step: Math.min(18, 264 / found.matrix.length), height: 60})));
  }

  function motifs(run, task) {
    const methods = [...new Set(task.models.flatMap((model) => model.motifs.map((motif) => motif.method)))];
    if (!methods.length) return el('section', {'aria-labelledby': 'motifs'}, el('h2', {id: 'motifs'}, 'One window per sequence'), el('p', {class: 'empty'}, 'No motifs yet (run the stage match).'));
    const own = new Set((task.own || []).map((matrix) => matrix.id));
    return el('section', {'aria-labelledby': 'motifs'},
      el('h2', {id: 'motifs'}, 'One window per sequence'),
      el('p', {class: 'lead'}, `As in the paper’s Table 4: each motif is the pile of one window per bound sequence, without its flat ends, and stands under the JASPAR motif that it matches best, aligned as by Tomtom (shaded). Only piles of ${run.motif_rule.bits} bits or more in their best ${run.motif_rule.columns} columns are matched. A window agrees where its letters fit the pile as well as at most 1 in ${demo.count(run.motif_rule.one_in)} words do.`),
      methods.map((method) => el('div', {class: 'method'},
        el('h3', {}, demo.methodLabel(method)),
        el('div', {class: `cards of-${Math.min(task.models.length, 4)}`}, task.models.map((model) => {
          const motif = model.motifs.find((one) => one.method === method);
          return motif ? card(run, task, model, motif, own) : el('article', {class: 'card none'}, el('h4', {}, demo.key(demo.specPlace(run, model.spec)), ` ${model.label}`), el('p', {class: 'soft'}, 'Not for this architecture.'));
        })))));
  }

  function card(run, task, model, motif, own) {
    const [best] = motif.matches;
    const target = best && task.targets[best.target];
    const label = `${demo.methodLabel(motif.method)} motif of ${model.label}`;
    const {columns, bits: least} = run.motif_rule;
    const bits = demo.fixed(Math.floor(10 * motif.bits) / 10, 1);  // rounded down: 5.98 are not 6
    const found = {
      motif: `No JASPAR motif matches (${run.criterion}).`,
      vague: `Too vague to be matched: ${bits} bits in its best ${columns} columns; ${least} are needed.`,
      none: `${bits} bits in its best ${columns} columns; ${least} are needed.`,
    };
    return el('article', {class: 'card'},
      el('h4', {}, demo.key(demo.specPlace(run, model.spec)), ` ${model.label}`),
      best ? el('p', {class: 'match'}, target ? `${target.name} ` : '', el('span', {class: 'soft'}, best.target), own.has(best.target) ? el('span', {class: 'badge'}, 'own TF') : null) : motif.verdict === 'none' ? el('p', {class: 'match soft'}, 'No motif') : motif.verdict === 'vague' ? el('p', {class: 'match soft'}, 'Vague motif') : null,
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': label}, target ? demo.alignment(motif.matrix, target.matrix, best, label) : demo.logoFigure(motif.matrix, label, {step: 14, height: 40})),
      best ? el('p', {class: 'numbers'}, `p ${demo.pValue(best.p)}, q ${demo.pValue(best.q)}, offset ${String(best.offset).replace('-', '−')}, ${best.strand === '-' ? 'reverse' : 'forward'} strand`)
        : el('p', {class: 'numbers'}, found[motif.verdict]),
      motif.agree ? el('p', {class: 'numbers', title: `Windows whose letters fit as well as at most 1 in ${demo.count(run.motif_rule.one_in)} words do`}, `${motif.agree[0]} of ${motif.agree[1]} windows agree`) : null,
      motif.verdict !== 'none' && repeats(motif.matrix) ? el('p', {class: 'numbers'}, 'One letter over and over: base composition rather than a site.') : null,
      motif.matches.length > 1 ? el('details', {}, el('summary', {}, `${motif.matches.length - 1} more`),
        el('ul', {}, motif.matches.slice(1).map((match) => el('li', {}, `${(task.targets[match.target] || {name: ''}).name} ${match.target}: p ${demo.pValue(match.p)}, q ${demo.pValue(match.q)}`, own.has(match.target) ? el('span', {class: 'badge'}, 'own TF') : null)))) : null);
  }

  // Whether all columns have the same likeliest letter, or all but one of eight and more.
  function repeats(matrix) {
    const letters = [...demo.consensus(matrix)];
    const others = Math.min(...[...'ACGT'].map((letter) => letters.filter((one) => one !== letter).length));
    return letters.length > 3 && others <= (letters.length < 8 ? 0 : 1);
  }

  function charts(run, task, interval) {
    const range = (spec) => { const [, low, high] = interval(spec); return low === null ? '' : ` (${demo.fixed(low)} to ${demo.fixed(high)})`; };
    const roc = task.roc.map((line) => ({...line, place: demo.specPlace(run, line.spec), detail: `${demo.fixed(line.auroc)}${range(line.spec)}`}));
    const curve = (measure, digits) => task.curves.map((line) => ({
      label: line.label, place: demo.specPlace(run, line.spec), x: line[measure].map((_, at) => at + 1), y: line[measure],
      detail: demo.fixed(line[measure][line[measure].length - 1], digits),
    }));
    const reliable = task.reliability.map((line) => ({...line, place: demo.specPlace(run, line.spec), detail: `error ${demo.fixed(line.error)}`}));
    const calibrated = task.reliability.every((line) => line.calibrated);
    return el('div', {class: 'charts'},
      roc.length ? demo.chart('ROC, test sequences', roc, {xLabel: 'false positive rate', yLabel: 'true positive rate', unit: true, diagonal: true}) : null,
      reliable.length ? demo.chart('Reliability, test sequences', reliable, {xLabel: calibrated ? 'calibrated probability' : 'probability', yLabel: 'share that binds', unit: true, diagonal: true}) : null,
      task.curves.length ? demo.chart('Validation AUROC', curve('valid_auroc', 3), {xLabel: 'epoch', yLabel: 'AUROC'}) : null,
      task.curves.length ? demo.chart('Training loss', curve('train_loss', 3), {xLabel: 'epoch', yLabel: 'nats'}) : null,
      task.curves.length ? demo.chart('Validation loss', curve('valid_loss', 3), {xLabel: 'epoch', yLabel: 'nats'}) : null);
  }

  function findings(run, task) {
    const number = (text, digits) => (text === '' || text === undefined ? '–' : demo.fixed(Number(text), digits));
    const tables = [];
    if (task.table4.length) {
      tables.push(demo.byMethod('Motifs that match the TF’s own matrix', run, task.table4, (row) => demo.besides(`${number(row.matches, 0)} of ${number(row.out_of, 0)}`, row.chance_matches !== '' && `chance ${demo.fixed(row.chance_matches / row.chance_out_of * row.out_of, 1)}`)));
    }
    if (task.truth.length) {
      tables.push(
        demo.byMethod('Planted sites: AUPRC of bases', run, task.truth, (row) => demo.besides(number(row.auprc, 3), `chance ${number(row.auprc_chance, 3)}`)),
        demo.byMethod('Planted sites: recall', run, task.truth, (row) => demo.besides(number(row.recall, 3), `chance ${number(row.recall_chance, 3)}`)));
    }
    return tables.length ? el('section', {'aria-labelledby': 'findings'}, el('h2', {id: 'findings'}, 'Explanations against what is known'), el('div', {class: 'tables'}, tables)) : null;
  }
})();
