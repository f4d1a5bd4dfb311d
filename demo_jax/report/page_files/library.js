'use strict';
// The page of published models: one list that can be searched, and logos that are drawn when they come into view.

(() => {
  const {el} = demo;
  const AT_ONCE = 16;
  const FILTERS = [['experiment', 'assay'], ['species', 'species'], ['family', 'family'], ['cell', 'cell line']];

  /** Probabilities out of base64 bytes: rows of four. */
  const unpack = (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return Array.from({length: bytes.length / 4}, (_, row) => {
      const column = Array.from(bytes.subarray(4 * row, 4 * row + 4), (byte) => byte / 255);
      const total = column.reduce((sum, p) => sum + p, 0) || 1;
      return column.map((p) => p / total);
    });
  };

  const families = (model) => model.family.split(',').map((name) => name.trim()).filter(Boolean);
  const values = (model, name) => (name === 'family' ? families(model) : [model[name]].filter(Boolean));
  const text = (model) => [model.id, model.protein, model.kind, model.species, model.family, model.experiment, model.cell].join(' ').toLowerCase();

  function match(found, what) {
    const own = found.own ? el('span', {class: found.is_own ? 'own' : 'soft'}, `own ${found.own}: q ${demo.pValue(found.own_q)}${found.is_own ? ', matches' : ''}`) : null;
    return el('p', {class: 'soft'}, `${what}: nearest ${found.best}, q ${demo.pValue(found.q)}`, own ? '; ' : null, own);
  }

  function card(model) {
    const facts = [model.experiment, model.cell, model.species, model.family].filter(Boolean).join(' · ');
    const logos = [
      el('figure', {}, el('figcaption', {}, `Class optimum, score ${demo.short(model.score)}`),
        demo.logoFigure(unpack(model.optimum), `${model.protein}: class optimum`, {step: 12, height: 44})),
      model.detectors.map((detector, place) => el('figure', {}, el('figcaption', {}, `Detector, effect ${demo.short(model.effects[place])}`),
        demo.logoFigure(unpack(detector), `${model.protein}: detector`, {step: 12, height: 44}))),
    ];
    return el('section', {class: 'model', id: model.id}, el('h2', {}, model.protein, ' ', el('span', {class: 'soft'}, model.id)),
      el('p', {}, facts), el('div', {class: 'logos'}, logos),
      model.matches.map((found, place) => match(found, place ? 'Best detector' : 'Class optimum')));
  }

  function counted(library) {
    return demo.table(`Models whose motif matches the TF’s own JASPAR matrix (${library.release}; ${library.criterion})`, [
      {label: 'models', cell: (row) => row.models}, {label: 'motif', cell: (row) => row.motif},
      {label: 'matches', number: true, cell: (row) => `${row.matches} of ${row.out_of}`},
      {label: 'chance', number: true, cell: (row) => demo.fixed(row.chance, 1)},
    ], library.counts, {footnote: 'Only models whose protein has a matrix are counted. Chance: the same motif with its columns in another order.'});
  }

  function start(library) {
    document.title = library.title;
    const main = document.getElementById('main');
    const models = library.models.map((model) => ({model, text: text(model)}));
    const search = el('input', {type: 'search', 'aria-label': 'Search', placeholder: 'TF, family, species, assay, id'});
    const boxes = FILTERS.map(([name, label]) => {
      const all = [...new Set(library.models.flatMap((model) => values(model, name)))].sort((a, b) => a.localeCompare(b));
      return [name, el('select', {'aria-label': label}, el('option', {value: ''}, `any ${label}`), all.map((value) => el('option', {value}, value)))];
    });
    const own = el('select', {'aria-label': 'match'}, ['any match', 'optimum matches own', 'detector matches own', 'neither'].map((label, value) => el('option', {value}, label)));
    const status = el('p', {role: 'status', class: 'soft'});
    const list = el('div', {class: 'library'});
    const more = el('button', {type: 'button', onclick: () => draw(shown + AT_ONCE)}, 'Show more');
    let found = models;
    let shown = 0;

    function draw(until) {
      list.append(...found.slice(shown, until).map(({model}) => card(model)));
      shown = Math.min(until, found.length);
      more.hidden = shown >= found.length;
    }

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const isOwn = (model, place) => Boolean(model.matches[place] && model.matches[place].is_own);
      found = models.filter(({model, text: all}) => words.every((word) => all.includes(word))
        && boxes.every(([name, box]) => !box.value || values(model, name).includes(box.value))
        && [true, isOwn(model, 0), isOwn(model, 1), !isOwn(model, 0) && !isOwn(model, 1)][Number(own.value)]);
      status.textContent = `${demo.count(found.length)} of ${demo.count(models.length)} models`;
      list.replaceChildren();
      shown = 0;
      draw(AT_ONCE);
    }

    const controls = el('form', {class: 'find controls', role: 'search', onsubmit: (event) => event.preventDefault()}, search, boxes.map(([, box]) => box), own);
    search.addEventListener('input', filter);
    for (const box of [...boxes.map(([, one]) => one), own]) box.addEventListener('change', filter);
    main.replaceChildren(el('h1', {}, library.title),
      el('p', {}, 'Alipanahi et al. 2015, as their authors have published them; nothing was trained here. Scores of different models are on different scales.'),
      counted(library), controls, status, list, more);
    filter();
    demo.onThemeChange(() => { demo.applyTheme(); filter(); });
    const theme = document.getElementById('theme');
    const label = () => { theme.textContent = demo.theme() === 'dark' ? 'Light' : 'Dark'; };
    theme.addEventListener('click', () => { demo.setTheme(demo.theme() === 'dark' ? 'light' : 'dark'); label(); filter(); });
    label();
  }

  demo.applyTheme();
  demo.load('library').then(start, (error) => {
    document.getElementById('main').replaceChildren(el('p', {role: 'alert'}, error.message));
  });
})();
