'use strict';
// Which motifs of a task need each other, at which distance, in which architecture: the stage grammar.
(() => {
  const {el} = demo;
  const CERTAIN = 0.05;  // q

  demo.grammar = (run, task) => {
    const {grammar} = task;
    const heading = el('h2', {id: 'grammar'}, 'Motifs that need each other');
    if (!grammar) return el('section', {'aria-labelledby': 'grammar'}, heading, el('p', {class: 'empty'}, 'Not asked yet (run the stage grammar).'));
    if (!grammar.pairs.length) return el('section', {'aria-labelledby': 'grammar'}, heading, el('p', {class: 'empty'}, 'No two different motifs were found in this task, so there is no pair to test.'));
    return el('section', {'aria-labelledby': 'grammar'}, heading,
      el('p', {class: 'lead'}, 'Two motifs are put into shuffled sequences at every distance. Epistasis is what both together add to the score (log odds) beyond the sum of what each adds alone. q compares its highest with that of either motif beside words that mean nothing, searched in the same way.'),
      grammar.pairs.map((pair) => picture(run, task, pair)));
  };

  function picture(run, task, pair) {
    const title = `${pair.first.name} and ${pair.second.name}`;
    const series = pair.models.map((one) => ({
      place: demo.specPlace(run, one.spec), label: demo.modelLabel(task, one), x: one.x, y: one.y,
      detail: `highest ${demo.signed(one.epistasis)}, ${distance(pair, one)}`,
    }));
    return el('div', {class: 'method'}, el('h3', {}, title, el('span', {class: 'soft'}, ` ${pair.first.consensus}, ${pair.second.consensus}`)),
      el('p', {}, verdict(pair)),
      el('div', {class: 'charts'}, el('figure', {}, demo.chart(`Epistasis of ${title}`, series, {
        xLabel: `letters between (below 0: ${short(pair.second.name)} first)`, yLabel: 'epistasis (log odds)', width: 520, height: 230}))),
      demo.table('', [
        {label: 'Model', cell: (one) => [demo.key(demo.specPlace(run, one.spec)), ` ${demo.modelLabel(task, one)}`]},
        {label: `${short(pair.first.name)} alone`, number: true, cell: (one) => demo.signed(one.effect_first)},
        {label: `${short(pair.second.name)} alone`, number: true, cell: (one) => demo.signed(one.effect_second)},
        {label: 'Both', number: true, cell: (one) => demo.signed(one.effect_both)},
        {label: 'Epistasis', number: true, cell: (one) => demo.besides(demo.signed(one.epistasis), `${demo.signed(one.low)} to ${demo.signed(one.high)}`, `q ${demo.pValue(one.q_epistasis)}`)},
        {label: 'Highest at', cell: (one) => demo.besides(distance(pair, one), `q ${demo.pValue(one.q_spacing)}`)},
      ], pair.models, {footnote: `Effects at that distance, with 95% intervals over backgrounds. q of the distance: how much higher the epistasis is there than at most distances. ${found(pair)}`}));
  }

  // In words: in which architectures the motifs need each other, and whether the distance counts.
  function verdict(pair) {
    const sure = pair.models.filter((one) => one.q_epistasis !== null && one.q_epistasis <= CERTAIN);
    if (!sure.length) return `No architecture wants both: each adds to the score what it adds alone, as far as can be told.`;
    const told = sure.map((one) => {
      const near = one.q_spacing !== null && one.q_spacing <= CERTAIN ? `, ${distance(pair, one)} (q ${demo.pValue(one.q_spacing)})` : ', at no distance more than at others';
      return `${one.label} (q ${demo.pValue(one.q_epistasis)})${near}`;
    });
    const others = pair.models.filter((one) => !sure.includes(one)).map((one) => one.label);
    return `Needed together by ${told.join('; ')}.${others.length ? ` Not by ${others.join(', ')}.` : ''}`;
  }

  const distance = (pair, one) => `${short(pair.second.name)} ${demo.count(one.gap)} bp ${one.order === 'after' ? 'behind' : 'before'} ${short(pair.first.name)}, ${one.strands === 'same' ? 'same strand' : 'opposite strands'}`;
  const found = (pair) => ['first', 'second'].map((which) => `${short(pair[which].name)} was found in ${pair[which].found_in.join(', ')}`).join('; ') + '.';
  const short = (name) => (name.length > 14 ? `${name.slice(0, 12)}…` : name);
})();
