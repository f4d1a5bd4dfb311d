'use strict';
// Ask the models: change letters of a sequence, and see what each architecture makes of it. A worker computes.
(() => {
  const {el, svg} = demo;
  const MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace';
  const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
  const LETTERS = 'ACGT';
  const MOST = 1000;  // letters
  const TOLERANCE = 1e-3;  // how far the score of the original may be from the one that the run holds
  const SHADES = 40;  // of each colour of the mutants
  const LEFT = 76, CELL = 11, TALL = 54, BLOCK = 24 + TALL + 8 + 4 * CELL + 14;

  /** The models in a worker, or beside the page where it may have none: `ask` a question, `end` it all. */
  function ask(payloads, receive) {
    let local = null;
    let worker = null;
    let last = null;
    function beside() {
      if (!local) local = demo.modelCode().service(payloads, receive);
      return local;
    }
    try {
      const text = `'use strict';\nconst {service} = (${demo.modelCode})();\nlet mine = null;\nonmessage = ({data}) => {\n  if (data.payloads) mine = service(data.payloads, (answer) => postMessage(answer)); else mine.ask(data);\n};\n`;
      const address = URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
      worker = new Worker(address);
      worker.onmessage = ({data}) => receive(data);
      worker.onerror = (event) => { event.preventDefault(); worker = null; if (last) beside().ask(last); };
      worker.postMessage({payloads});
    } catch (error) { worker = null; }
    return {
      ask(question) { last = question; if (worker) worker.postMessage(question); else beside().ask(question); },
      end() { if (worker) worker.terminate(); if (local) local.stop(); },
    };
  }

  /** Letters out of what somebody typed or pasted (FASTA, too): {letters} or {error}. */
  function read(text, least, most) {
    const letters = text.split('\n').filter((line) => !line.startsWith('>')).join('').replace(/\s+/g, '').toUpperCase();
    const bad = [...letters].findIndex((letter) => !'ACGTN'.includes(letter));
    if (bad >= 0) return {error: `Letter ${bad + 1} is “${[...letters][bad]}”: a sequence has only the letters A, C, G, T and N.`};
    if (letters.length < least) return {error: `${demo.count(letters.length)} ${letters.length === 1 ? 'letter is' : 'letters are'} too few: the models need at least ${least}.`};
    if (letters.length > most) return {error: `${demo.count(letters.length)} letters are too many: this page computes at most ${demo.count(most)}.`};
    return {letters};
  }

  /** The motifs of a task that can be put into a sequence, the TF's own first: {label, detail, matrix}. */
  function motifsOf(run, task) {
    const label = (spec) => (run.specs.find((one) => one.spec === spec) || {label: spec}).label;
    const found = task.found ? task.found.motifs : [];
    const best = found.filter((motif) => motif.method === found[0].method && motif.sign > 0);
    const all = [
      ...(task.own || []).map((motif) => ({label: motif.name, detail: motif.id, matrix: motif.matrix})),
      ...best.map((motif) => ({label: motif.match ? task.targets[motif.match.target].name : 'unknown', detail: `${motif.name} of ${label(motif.spec)}`, matrix: motif.matrix})),
      ...Object.entries(task.targets).map(([id, motif]) => ({label: motif.name, detail: id, matrix: motif.matrix})),
    ];
    const seen = new Set();
    return all.filter(({label: name, detail}) => !seen.has(`${name} ${detail}`) && seen.add(`${name} ${detail}`));
  }

  demo.views.change = (run, task, answers, state) => {
    const motifs = motifsOf(run, task);
    const models = task.models.map((model) => ({...model, payload: answers.models.find((one) => one.spec === model.spec), why: (answers.without.find(([spec]) => spec === model.spec) || [])[1]}));
    const computed = models.filter(({payload}) => payload);
    const least = Math.min(...computed.map(({payload}) => payload.min_length));
    const most = Math.max(MOST, task.length);
    const item = task.sequences.find((one) => String(one.row) === state.parts[3]) || task.sequences[0];
    const stored = new Map(task.models.map((model, place) => [model.spec, item.scores[place]]));
    const view = {letters: item.letters, cursor: null, motif: null, reverse: false, step: 9, drop: null};
    const past = [], future = [];
    let typed = 0;  // when letters were typed last: what is typed in one go is undone in one go
    let question = 0;
    let looked = false;
    let results = new Map();
    let palette = demo.palette();
    const groups = new Map();
    const shown = state.options.letters ? read(state.options.letters, least, most) : {letters: item.letters};
    if (shown.letters) view.letters = shown.letters;

    const button = (label, act, extra = {}) => el('button', {type: 'button', onclick: act, ...extra}, label);
    const lead = el('p', {class: 'lead'});
    const box = el('textarea', {id: 'letters', rows: '3', spellcheck: 'false', autocomplete: 'off', autocapitalize: 'characters', 'aria-describedby': 'letters-trouble'});
    const trouble = el('p', {id: 'letters-trouble', class: 'wrong', role: 'alert'});
    const undo = button('Undo', () => back(past, future));
    const redo = button('Redo', () => back(future, past));
    const reset = button('Reset to the original', () => change(item.letters));
    const maps = el('a', {class: 'button', href: demo.link(['task', task.name, 'sequence', item.row])}, 'Its maps');
    const spot = el('p', {class: 'spot', 'aria-live': 'polite'});
    const table = el('div', {class: 'readout'}, spot);
    const progress = el('progress', {max: '1', value: '0', 'aria-label': 'Mutants computed'});
    const progressText = el('span', {class: 'soft', role: 'status'});
    const stage = el('div', {class: 'scroll stage change', tabindex: '0', role: 'application', 'aria-label': 'Letters, gradient and mutants: arrow keys move, the keys A, C, G, T and N change the letter, Backspace takes the original letter back', 'aria-describedby': 'change-spot'});
    spot.id = 'change-spot';
    const at = el('input', {type: 'number', id: 'motif-at', min: '1', value: '1'});
    const strand = el('input', {type: 'checkbox', id: 'motif-reverse'});
    strand.addEventListener('change', () => { view.reverse = strand.checked; showMotifs(); });
    const put = button('Put it there', () => place(Number(at.value) - 1), {id: 'motif-put'});
    const chips = el('div', {class: 'chips', role: 'group', 'aria-label': 'Motifs'});
    const start = el('select', {id: 'start'}, task.sequences.map((one) => el('option', {value: one.row, selected: one === item}, `${one.name || `sequence ${one.row}`} (${one.label ? 'bound' : 'not bound'})`)));
    start.addEventListener('change', () => { location.hash = demo.link(['task', task.name, 'change', start.value]); });

    const node = el('section', {class: 'sheet', 'aria-label': 'Change a sequence'},
      el('div', {class: 'heading'}, el('div', {}, el('h1', {tabindex: '-1'}, 'Ask the models'), lead), el('div', {class: 'actions'}, undo, redo, reset, maps)),
      el('div', {class: 'tools'},
        el('div', {class: 'field'}, el('label', {for: 'start'}, 'Begin with'), start),
        el('div', {class: 'field grow'}, el('label', {for: 'letters'}, 'Sequence: type or paste'), box)),
      trouble,
      motifs.length ? el('details', {class: 'motifs', open: true}, el('summary', {}, 'Motifs: drag one onto the letters, or choose one and a place'), chips,
        el('div', {class: 'toggles'}, el('label', {class: 'toggle', for: 'motif-reverse'}, strand, 'reverse strand'),
          el('label', {class: 'toggle', for: 'motif-at'}, 'first position', at), put)) : null,
      table, stage,
      el('div', {class: 'actions below'}, button('Download numbers (TSV)', save), progress, progressText),
      el('p', {class: 'note'}, 'Letters: gradient × input of each model, those against binding below the line. Squares: how the score would change with that letter there, from blue (lower) to red (higher); click one to put the letter there. Click a letter of the sequence to change it to the next of A, C, G, T. ', el('kbd', {}, '←'), ' ', el('kbd', {}, '→'), ' move, ', el('kbd', {}, 'A'), ' ', el('kbd', {}, 'C'), ' ', el('kbd', {}, 'G'), ' ', el('kbd', {}, 'T'), ' ', el('kbd', {}, 'N'), ' change, ', el('kbd', {}, 'Backspace'), ' takes the original letter back, ', el('kbd', {}, 'Ctrl'), '+', el('kbd', {}, 'Z'), ' undoes. Scores are computed here from the weights of the run; no network is used.'));

    // Changes.
    function change(letters, {typing = false} = {}) {
      trouble.textContent = '';
      box.removeAttribute('aria-invalid');
      if (letters === view.letters) { if (!typing) showText(); return; }
      const now = Date.now();
      if (!(typing && now - typed < 1000)) past.push(view.letters);
      typed = typing ? now : 0;
      future.length = 0;
      view.letters = letters;
      if (!typing) showText();
      changed();
    }
    function back(from, to) {
      if (box.hasAttribute('aria-invalid') && box.value !== view.letters) { change(view.letters); return; }  // what was typed last is no sequence
      if (!from.length) return;
      to.push(view.letters);
      view.letters = from.pop();
      typed = 0;
      trouble.textContent = '';
      box.removeAttribute('aria-invalid');
      showText();
      changed();
    }
    const showText = () => { box.value = view.letters; };
    const setLetter = (position, letter) => change(view.letters.slice(0, position) + letter + view.letters.slice(position + 1));
    function refuse(text) {
      trouble.textContent = text;
      box.setAttribute('aria-invalid', 'true');
    }
    box.addEventListener('input', () => {
      const {letters, error} = read(box.value, least, most);
      if (error) refuse(error); else change(letters, {typing: true});
    });
    const wordOf = (motif) => demo.consensus(view.reverse ? demo.reverseComplement(motif.matrix) : motif.matrix);
    function place(position, motif = view.motif) {
      if (!motif) { refuse('Choose a motif first.'); return; }
      const word = wordOf(motif);
      if (!(position >= 0 && position + word.length <= view.letters.length)) {
        refuse(`${motif.label} has ${word.length} letters: in ${view.letters.length} letters it can begin at positions 1 to ${Math.max(view.letters.length - word.length + 1, 0)}.`);
        return;
      }
      change(view.letters.slice(0, position) + word + view.letters.slice(position + word.length));
    }

    function changed() {
      view.cursor = view.cursor === null ? null : Math.min(view.cursor, view.letters.length - 1);
      undo.disabled = !past.length;
      redo.disabled = !future.length;
      reset.disabled = view.letters === item.letters;
      at.max = String(view.letters.length);
      const {letters} = view;
      const same = letters.length === item.letters.length;
      const differ = same ? [...letters].filter((letter, position) => letter !== item.letters[position]).length : null;
      lead.textContent = `${item.name || `sequence ${item.row}`}, ${letters.length} letters, ${differ === null ? `the original has ${item.letters.length}` : differ ? `${differ} changed` : 'as the original'}`;
      history.replaceState(null, '', demo.link(['task', task.name, 'change', item.row], {letters: letters === item.letters ? null : letters}));
      question += 1;
      results = new Map();
      const able = computed.filter(({payload}) => payload.min_length <= letters.length).map(({spec}) => spec);
      progress.value = 0;
      progress.hidden = !able.length;
      progressText.textContent = '';
      draw();
      answer.ask({id: question, letters, original: item.letters, specs: able});
    }

    // Answers.
    function receive(found) {
      if (found.id !== question) return;
      if (found.finished) { progress.hidden = true; progressText.textContent = 'All mutants are computed.'; return; }
      const result = results.get(found.spec) || {};
      results.set(found.spec, Object.assign(result, found));
      if (found.of) {
        const place_ = computed.findIndex(({spec}) => spec === found.spec);
        progress.value = (place_ + found.done / found.of) / computed.length;
        progressText.textContent = `Mutants of ${computed[place_].label}`;
        return;
      }
      if (found.score !== undefined) result.off = Math.abs(found.original - stored.get(found.spec)) > TOLERANCE * Math.max(1, Math.abs(found.original));
      drawModel(models.find(({spec}) => spec === found.spec));
      showReadout();
      if (found.values && !looked) {  // where the figure is wider than the page, begin with what matters
        looked = true;
        const sizes = found.values.map(Math.abs);
        stage.scrollLeft = px(sizes.indexOf(Math.max(...sizes))) - stage.clientWidth / 2;
      }
    }
    const answer = ask(computed.map(({payload}) => payload), receive);

    /** Why there are no numbers of a model; '' where they are there or on their way. */
    function reason(model) {
      if (!model.payload) return `cannot be computed on this page: ${model.why || 'its weights are not here'}`;
      if (model.payload.min_length > view.letters.length) return `needs at least ${model.payload.min_length} letters`;
      const result = results.get(model.spec);
      return result && result.off ? `is not shown: this page computes ${demo.fixed(result.original)} for the original, the run holds ${demo.fixed(stored.get(model.spec))}` : '';
    }
    const resultOf = (model) => (reason(model) ? null : results.get(model.spec));

    function showReadout() {
      const there = view.cursor !== null && view.cursor < view.letters.length;
      const position = view.cursor;
      const letter = there ? view.letters[position] : null;
      const before = there && item.letters.length === view.letters.length && item.letters[position] !== letter ? `, was ${item.letters[position]}` : '';
      spot.replaceChildren(...(there ? [el('strong', {id: 'position'}, `Position ${position + 1}`), ' ', el('b', {id: 'base', class: `base base-${letter}`}, letter), el('span', {class: 'soft'}, before)] : [el('span', {class: 'soft'}, 'Point at a letter to read its values.')]));
      const cells = ['Model', 'Score', 'Original', 'Change', task.models.some((model) => model.temperature !== 1) ? 'P(bound), calibrated' : 'P(bound)', 'Gradient × input', ...[...LETTERS].map((one) => `to ${one}`)];
      const rows = models.map((model) => {
        const why = reason(model);
        const head = el('th', {scope: 'row'}, model.label);
        if (why) return el('tr', {}, head, el('td', {colspan: cells.length - 1, class: 'soft wrap'}, why));
        const result = results.get(model.spec) || {};
        const score = result.score;
        const mutant = (token) => (there && result.mutants && LETTERS[token] !== letter ? demo.signed(result.mutants[4 * position + token] - score) : '–');
        const cell = (name, text) => el('td', {class: 'number', 'data-cell': `${model.spec}:${name}`}, text);
        return el('tr', {}, head, cell('score', demo.signed(score)), cell('original', demo.signed(result.original)), cell('change', score === undefined ? '–' : demo.signed(score - result.original)),
          cell('chance', score === undefined ? '–' : demo.fixed(demo.probability(score, model))), cell('gradient', there && result.values ? demo.short(result.values[position]) : '–'), [...LETTERS].map((one, token) => cell(one, mutant(token))));
      });
      const made = el('table', {}, el('thead', {}, el('tr', {}, cells.map((label, column) => el('th', {scope: 'col', class: column ? 'number' : null}, label)))), el('tbody', {}, rows));
      const old = table.querySelector('table');
      if (old) old.replaceWith(made); else table.append(made);
      showCursor();
    }

    // The figure.
    const px = (position) => LEFT + position * view.step;
    let cursor = null, drop = null;
    function draw() {
      palette = demo.palette();
      const length = view.letters.length;
      view.step = Math.max(9, Math.min(22, (Math.max(stage.clientWidth, 240) - LEFT - 6) / length));
      const width = px(length) + 6;
      const height = 60 + models.length * BLOCK;
      const picture = svg('svg', {class: 'figure', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'font-family': SANS, 'aria-label': `${length} letters; of each model gradient × input and the mutants' scores; the table above reads the values`});
      const text = (x, y, size, content, extra = {}) => svg('text', {x, y, 'font-size': size, fill: palette.ink, ...extra}, content);
      const every = [1, 2, 5, 10, 20].find((size) => size * view.step >= 30) || 50;
      for (let position = 0; position < length; position += 1) {
        if ((position + 1) % every === 0 || position === 0) picture.append(text(px(position) + view.step / 2, 12, 10, position + 1, {'text-anchor': 'middle', fill: palette.soft}));
        const letter = view.letters[position];
        const old = item.letters.length === length && item.letters[position] !== letter ? item.letters[position] : null;
        const middle = {'text-anchor': 'middle', 'font-family': MONO};
        if (old) picture.append(svg('rect', {class: 'edited', x: px(position), y: 18, width: view.step, height: 20, rx: 2, fill: palette.hit, stroke: palette.hitLine}), text(px(position) + view.step / 2, 50, Math.min(11, view.step * 1.3), old, {...middle, fill: palette.soft}));
        picture.append(text(px(position) + view.step / 2, 33, Math.min(15, view.step * 1.5), letter, {...middle, 'font-weight': 700, fill: palette.letters[letter], class: 'letter'}));
      }
      const side = (y, content) => text(LEFT - 6, y, 11, content, {'text-anchor': 'end', fill: palette.soft});
      picture.append(side(33, 'sequence'));
      if (picture.querySelector('.edited')) picture.append(side(50, 'original'));
      for (const model of models) {
        groups.set(model.spec, svg('g', {}));
        picture.append(groups.get(model.spec));
      }
      cursor = svg('rect', {y: 16, height: height - 18, width: view.step, fill: palette.accent, 'fill-opacity': 0.14, stroke: palette.accent, 'stroke-opacity': 0.7, visibility: 'hidden', 'pointer-events': 'none'});
      drop = svg('rect', {y: 16, height: 24, fill: palette.accent, 'fill-opacity': 0.3, visibility: 'hidden', 'pointer-events': 'none'});
      picture.append(cursor, drop);
      stage.replaceChildren(picture);
      models.forEach(drawModel);
      showReadout();
    }

    function drawModel(model) {
      const place_ = models.indexOf(model);
      const group = svg('g', {'data-model': model.spec});
      const result = resultOf(model) || {};
      const why = reason(model);
      let y = 60 + place_ * BLOCK + 14;
      const head = why || (result.score === undefined ? 'is asked …' : `${demo.signed(result.score)}, ${view.letters === item.letters ? 'as the original' : `${demo.signed(result.score - result.original)} from the original`}, P ${demo.fixed(demo.probability(result.score, model))}`);
      group.append(svg('g', {class: 'head', transform: `translate(${stage.scrollLeft} 0)`},
        svg('rect', {x: 0, y: y - 9, width: 10, height: 10, rx: 2, fill: demo.seriesColour(demo.specPlace(run, model.spec), palette)}),
        svg('text', {x: 16, y, 'font-size': 13, fill: palette.ink, 'font-weight': 600}, model.label, svg('tspan', {'font-weight': 400, fill: palette.soft}, `   ${head}`))));
      y += 10;
      if (result.values) {
        const largest = demo.largest(result.values) || 1;
        const high = Math.max(0, ...result.values) / largest, low = Math.min(0, ...result.values) / largest;
        const scale = TALL / ((high - low) || 1);
        const zero = y + high * scale;
        result.values.forEach((value, position) => {
          const letter = view.letters[position];
          const size = Math.abs(value) / largest * scale;
          if (size > 0.3 && letter !== 'N') group.append(demo.glyph(letter, px(position) + view.step * 0.04, value > 0 ? zero - size : zero, view.step * 0.92, size, palette.letters[letter], value > 0 ? null : 0.7));
        });
        group.append(svg('line', {x1: LEFT, x2: px(view.letters.length), y1: zero, y2: zero, stroke: palette.line}),
          svg('text', {x: LEFT - 6, y: y + 9, 'font-size': 11, 'text-anchor': 'end', fill: palette.soft}, demo.short(Number((largest * high).toPrecision(2)))));
      }
      y += TALL + 8;
      if (!why) {
        const changes = result.mutants ? Array.from(result.mutants, (score) => score - result.score) : null;
        const largest = changes ? demo.largest(changes) || 1 : 1;
        // One path for each colour: a thousand letters have four thousand squares.
        const paths = new Map();
        [...LETTERS].forEach((letter, token) => {
          group.append(svg('text', {x: LEFT - 6, y: y + token * CELL + 9, 'font-size': 10, 'text-anchor': 'end', fill: palette.soft, 'font-family': MONO}, letter));
          for (let position = 0; position < view.letters.length; position += 1) {
            const level = changes ? Math.round(SHADES * changes[4 * position + token] / largest) : 0;
            const fill = view.letters[position] === letter ? palette.blank : level ? demo.stripColour(level / SHADES, palette) : null;
            if (fill) paths.set(fill, `${paths.get(fill) || ''}M${px(position).toFixed(2)} ${y + token * CELL}h${view.step.toFixed(2)}v${CELL}h${(-view.step).toFixed(2)}z`);
          }
        });
        const squares = svg('g', {class: 'mutants', 'shape-rendering': 'crispEdges'},
          svg('rect', {x: LEFT, y, width: px(view.letters.length) - LEFT, height: 4 * CELL, fill: demo.stripColour(0, palette), stroke: palette.grid}),
          [...paths].map(([fill, d]) => svg('path', {d, fill})));
        group.append(squares);
      }
      groups.get(model.spec).replaceWith(group);
      groups.set(model.spec, group);
    }

    function showCursor() {
      if (view.cursor === null) { cursor.setAttribute('visibility', 'hidden'); return; }
      cursor.setAttribute('x', px(view.cursor));
      cursor.setAttribute('visibility', 'visible');
    }
    /** The position under the pointer, and what is there: a letter of the sequence, the square of a letter, or null. */
    function under(event) {
      const area = stage.firstChild.getBoundingClientRect();
      const position = Math.floor((event.clientX - area.left - LEFT) / view.step);
      const y = event.clientY - area.top;
      if (position < 0 || position >= view.letters.length) return {position: null, letter: null};
      const inside = (y - 60) % BLOCK - (24 + TALL + 8);
      const square = y > 60 && inside >= 0 && inside < 4 * CELL ? LETTERS[Math.floor(inside / CELL)] : null;
      return {position, letter: y >= 16 && y < 42 ? LETTERS[(LETTERS.indexOf(view.letters[position]) + 1) % 4] : square};
    }
    function point(position) {
      view.cursor = position;
      at.value = String(position + 1);
      showReadout();
    }
    // The names of the models stay in sight.
    stage.addEventListener('scroll', () => { for (const head of stage.querySelectorAll('.head')) head.setAttribute('transform', `translate(${stage.scrollLeft} 0)`); });
    stage.addEventListener('pointermove', (event) => { const {position} = under(event); if (position !== null && position !== view.cursor) point(position); });
    stage.addEventListener('click', (event) => {
      const {position, letter} = under(event);
      if (position === null) return;
      point(position);
      if (letter) setLetter(position, letter);
    });
    stage.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const last = view.letters.length - 1;
      const position = view.cursor === null ? 0 : view.cursor;
      const to = {ArrowLeft: position - 1, ArrowRight: view.cursor === null ? 0 : position + 1, Home: 0, End: last}[event.key];
      const key = event.key.toUpperCase();
      if (to !== undefined) {
        point(Math.min(Math.max(to, 0), last));
        const x = px(view.cursor);
        if (x < stage.scrollLeft + LEFT) stage.scrollLeft = x - LEFT;
        else if (x + view.step > stage.scrollLeft + stage.clientWidth) stage.scrollLeft = x + view.step - stage.clientWidth;
      } else if (view.cursor !== null && key.length === 1 && 'ACGTN'.includes(key)) setLetter(position, key);
      else if (view.cursor !== null && (event.key === 'Backspace' || event.key === 'Delete') && item.letters.length === view.letters.length) setLetter(position, item.letters[position]);
      else return;
      event.preventDefault();
    });
    function keys(event) {
      if (!(event.ctrlKey || event.metaKey) || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
      const key = event.key.toLowerCase();
      if (key === 'z' && !event.shiftKey) back(past, future);
      else if (key === 'y' || key === 'z') back(future, past);
      else return;
      event.preventDefault();
    }

    // Motifs.
    function showMotifs() {
      chips.replaceChildren(...motifs.map((motif) => {
        const matrix = view.reverse ? demo.reverseComplement(motif.matrix) : motif.matrix;
        const choose = () => { view.motif = motif; showMotifs(); chips.querySelector('[aria-pressed="true"]').focus(); };
        return el('div', {  // not a button: Firefox does not let these be dragged
          role: 'button', tabindex: '0', class: 'chip', draggable: 'true', 'aria-pressed': String(motif === view.motif), title: wordOf(motif),
          onclick: choose, onkeydown: (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); choose(); } },
          ondragstart: (event) => { view.motif = motif; event.dataTransfer.setData('text/plain', wordOf(motif)); event.dataTransfer.effectAllowed = 'copy'; },
        }, el('span', {}, motif.label, ' ', el('span', {class: 'soft'}, motif.detail)), demo.logoFigure(matrix, `${motif.label} ${motif.detail}`, {step: 8, height: 26}));
      }));
    }
    const firstOf = (event, word) => { const area = stage.firstChild.getBoundingClientRect(); return Math.min(Math.max(Math.round((event.clientX - area.left - LEFT) / view.step - word.length / 2), 0), Math.max(view.letters.length - word.length, 0)); };
    stage.addEventListener('dragover', (event) => {
      if (!view.motif) return;
      event.preventDefault();
      const word = wordOf(view.motif);
      drop.setAttribute('x', px(firstOf(event, word)));
      drop.setAttribute('width', word.length * view.step);
      drop.setAttribute('visibility', 'visible');
    });
    stage.addEventListener('dragleave', () => drop.setAttribute('visibility', 'hidden'));
    stage.addEventListener('drop', (event) => {
      if (!view.motif) return;
      event.preventDefault();
      drop.setAttribute('visibility', 'hidden');
      place(firstOf(event, wordOf(view.motif)));
      showMotifs();
    });

    function save() {
      const able = models.filter(resultOf);
      const columns = able.flatMap((model) => ['gradient_x_input', ...LETTERS].map((name) => `${model.spec}:${name}`));
      const clean = (text) => String(text).replace(/\s+/g, ' ');
      const digits = (value) => (value === undefined ? '' : Number(value.toPrecision(7)));
      const lines = [
        `# task: ${clean(task.name)}`, `# begun with: ${clean(item.name)}`, `# sequence: ${view.letters}`,
        ...able.map((model) => `# score ${model.spec}: ${digits(resultOf(model).score)}, of the original ${digits(resultOf(model).original)}`),
        ['position', 'base', ...columns].join('\t'),
        ...[...view.letters].map((letter, position) => [position + 1, letter, ...able.flatMap((model) => {
          const {values, mutants} = resultOf(model);
          return [digits(values && values[position]), ...[0, 1, 2, 3].map((token) => digits(mutants && mutants[4 * position + token]))];
        })].join('\t')),
      ];
      demo.download(`${task.name}_${item.name || item.row}_changed.tsv`, `${lines.join('\n')}\n`, 'text/tab-separated-values');
    }

    let width = 0;
    const observer = new ResizeObserver(() => { if (Math.floor(stage.clientWidth) !== width) { width = Math.floor(stage.clientWidth); draw(); } });
    document.addEventListener('keydown', keys);
    return {
      node,
      ready: () => { width = Math.floor(stage.clientWidth); showMotifs(); showText(); changed(); if (shown.error) refuse(shown.error); observer.observe(stage); },
      leave: () => { document.removeEventListener('keydown', keys); observer.disconnect(); answer.end(); },
    };
  };
})();
