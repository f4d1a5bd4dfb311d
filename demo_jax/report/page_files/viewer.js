'use strict';
// The sequence viewer: choose a test sequence, see how each architecture reads it, letter by letter.
(() => {
  const {el, svg} = demo;
  const ORDERS = {chosen: 'As chosen', score: 'Score, highest first', error: 'Error, largest first', disagreement: 'Disagreement, largest first', name: 'Name'};
  const FEWEST = 12;  // letters shown at the closest zoom
  const MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace';
  const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

  const byName = (tracks) => Object.fromEntries(tracks.map((track) => [track.name, track]));
  const has = (model, track) => Boolean(model.tracks[track.reads]);

  /** Values of a track (the saliency map is the size of gradient x input), forward and backward scores. */
  function values(model, track, index) {
    const signed = demo.unpack(model.tracks[track.reads], index);
    return {
      main: signed && track.size ? signed.map(Math.abs) : signed,
      forward: demo.unpack(model.forward, index),
      reverse: demo.unpack(model.reverse, index),
    };
  }

  function measures(item, models) {
    const chances = item.scores.map((score, place) => demo.probability(score, models[place]));
    const errors = chances.map((chance) => Math.abs(item.label - chance));
    return {chances, errors, disagreement: Math.max(...chances) - Math.min(...chances)};
  }

  function sorted(task, order, by) {
    const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;
    const of = (list) => (by >= 0 && by < list.length ? list[by] : mean(list));
    const key = {
      score: (item) => -of(item.scores), error: (item) => -of(measures(item, task.models).errors), disagreement: (item) => -measures(item, task.models).disagreement,
    }[order];
    const entries = task.sequences.map((item, at) => ({item, at}));
    if (order === 'name') return entries.sort((a, b) => a.item.name.localeCompare(b.item.name, 'en', {numeric: true}) || a.at - b.at);
    return key ? entries.sort((a, b) => key(a.item) - key(b.item) || a.at - b.at) : entries;
  }

  demo.views.viewer = (run, task, state) => {
    const options = state.options;
    const tracks = byName(run.tracks);
    const shownBy = (name) => tracks[name] && task.models.some((model) => has(model, tracks[name]));
    const number = (text, otherwise) => (text !== undefined && /^-?\d+$/.test(text) ? Number(text) : otherwise);
    const view = {
      index: Math.max(task.sequences.findIndex((item) => String(item.row) === state.parts[3]), 0),
      track: shownBy(options.track) ? options.track : run.tracks[0].name,
      order: ORDERS[options.sort] ? options.sort : 'chosen',
      by: number(options.by, -1),
      hits: options.hits !== '0', sites: options.sites !== '0', windows: options.windows === '1',
      from: number(options.from, null), to: number(options.to, null), cursor: null,
    };
    let palette = demo.palette();
    let geometry = null;
    const item = () => task.sequences[view.index];
    const length = () => item().letters.length;

    // The parts that stay.
    const title = el('h1', {tabindex: '-1'});
    const facts = el('p', {class: 'lead'});
    const stage = el('div', {class: 'stage'});
    const readout = el('div', {class: 'readout', id: 'readout'});
    const list = el('ol', {class: 'sequences', 'aria-label': 'Test sequences'});
    const status = el('p', {class: 'soft', role: 'status'});
    const search = el('input', {type: 'search', id: 'sequence-search', placeholder: 'name, letters, motif …', autocomplete: 'off', spellcheck: 'false'});
    const pick = (id, label, entries, chosen, change) => {
      const select = el('select', {id}, entries.map(([value, text]) => el('option', {value, selected: value === chosen}, text)));
      select.addEventListener('change', () => change(select.value));
      return el('div', {class: 'field'}, el('label', {for: id}, label), select);
    };
    const order = pick('order', 'Sort by', Object.entries(ORDERS), view.order, (value) => { view.order = value; showList(); remember(); });
    const by = pick('by', 'of', [['-1', 'all models'], ...task.models.map((model, at) => [String(at), model.label])], String(view.by), (value) => { view.by = Number(value); showList(); remember(); });
    const track = pick('track', 'Letters show', run.tracks.filter(({name}) => shownBy(name)).map(({name, label}) => [name, label]), view.track, (value) => { view.track = value; draw(); });
    const toggle = (name, label, there) => {
      const box = el('input', {type: 'checkbox', id: `toggle-${name}`, checked: view[name], disabled: !there});
      box.checked = view[name];
      box.addEventListener('change', () => { view[name] = box.checked; draw(); });
      return el('label', {class: 'toggle', for: `toggle-${name}`}, box, label);
    };
    const button = (label, name, act) => el('button', {type: 'button', 'aria-label': name === label ? null : name, title: name, onclick: act}, label);
    const slider = el('input', {type: 'range', id: 'pan', min: '0', step: '1', 'aria-label': 'First position shown'});
    slider.addEventListener('input', () => { const span = view.to - view.from; setWindow(Number(slider.value), Number(slider.value) + span); });
    const asks = el('a', {class: 'button'}, 'Ask the models');
    const anyHits = task.sequences.some((one) => one.hits !== null);
    const anySites = task.sequences.some((one) => one.sites.length);
    const anyWindows = task.models.some((model) => Object.keys(model.windows).length);

    const node = el('div', {class: 'viewer'},
      el('aside', {'aria-label': 'Choose a sequence'},
        el('div', {class: 'field'}, el('label', {for: 'sequence-search'}, 'Find a sequence'), search),
        el('div', {class: 'pair'}, order, by),
        status, list,
        el('p', {class: 'note'}, `${task.sequences.length} of ${demo.count(task.n_test)} test sequences: the best and the worst scored, those the models disagree on, and some negatives.`)),
      el('section', {class: 'sheet', 'aria-label': 'The sequence'},
        el('div', {class: 'heading'}, el('div', {}, title, facts),
          el('div', {class: 'actions'}, task.answers ? asks : null, button('←', 'Previous sequence (left arrow key)', () => step(-1)), button('→', 'Next sequence (right arrow key)', () => step(1)))),
        el('div', {class: 'tools', role: 'group', 'aria-label': 'What the figure shows'},
          track, el('div', {class: 'toggles'}, toggle('hits', 'JASPAR hits', anyHits), anySites ? toggle('sites', 'Planted sites', true) : null, anyWindows ? toggle('windows', 'Motif windows', true) : null),
          el('div', {class: 'actions'}, button('−', 'Zoom out (− key)', () => zoom(1.6)), button('+', 'Zoom in (+ key)', () => zoom(1 / 1.6)), button('Whole', 'Show the whole sequence (0 key)', () => setWindow(0, length())))),
        readout, stage, slider,
        el('div', {class: 'actions'}, button('Download figure (SVG)', 'Download figure (SVG)', saveFigure), button('Download numbers (TSV)', 'Download numbers (TSV)', saveNumbers)),
        el('p', {class: 'note keys'}, el('kbd', {}, '←'), ' ', el('kbd', {}, '→'), ' other sequence, ', el('kbd', {}, 'Shift'), ' with them: move along the letters, ', el('kbd', {}, '+'), ' ', el('kbd', {}, '−'), ' ', el('kbd', {}, '0'), ' zoom, ', el('kbd', {}, 'H'), ' hits. Drag the figure to move it.')));

    function remember() {
      const whole = view.from === 0 && view.to === length();
      history.replaceState(null, '', demo.link(['task', task.name, 'sequence', item().row], {
        track: view.track === run.tracks[0].name ? null : view.track, sort: view.order === 'chosen' ? null : view.order, by: view.by < 0 ? null : view.by,
        hits: view.hits ? null : 0, sites: view.sites ? null : 0, windows: view.windows ? 1 : null,
        from: whole ? null : view.from, to: whole ? null : view.to,
      }));
    }

    function setWindow(from, to) {
      const span = Math.min(Math.max(Math.round(to - from), Math.min(FEWEST, length())), length());
      view.from = Math.min(Math.max(Math.round(from), 0), length() - span);
      view.to = view.from + span;
      draw();
    }
    function zoom(factor) {
      const span = (view.to - view.from) * factor;
      const inside = view.cursor !== null && view.cursor >= view.from && view.cursor < view.to;
      const centre = inside ? view.cursor + 0.5 : (view.from + view.to) / 2;
      const share = (centre - view.from) / (view.to - view.from);
      setWindow(centre - share * span, centre + (1 - share) * span);
    }
    function select(index) {
      view.index = index;
      view.cursor = null;
      view.from = null;
      showList();
      draw();
    }
    function step(by_) {
      const shown = visible();
      const at = shown.findIndex((entry) => entry.at === view.index);
      const next = shown[at < 0 ? 0 : at + by_];
      if (next) {
        select(next.at);
        reveal();
      }
    }
    /** Scroll the list to the sequence that is shown. */
    function reveal() {
      const current = list.querySelector('[aria-current]');
      if (current) list.scrollTop = Math.max(0, current.parentElement.offsetTop - list.clientHeight / 2);
    }
    function visible() {
      const word = search.value.trim().toLowerCase();
      const letters = word.toUpperCase();
      return sorted(task, view.order, view.by).filter(({item: one}) => !word || one.name.toLowerCase().includes(word) || one.why.includes(word)
        || one.place.toLowerCase().includes(word) || (letters.length > 2 && one.letters.includes(letters)) || one.sites.some((site) => site[3].toLowerCase().includes(word)));
    }
    function showList() {
      const shown = visible();
      status.textContent = shown.length === task.sequences.length ? `${shown.length} sequences` : shown.length ? `${shown.length} of ${task.sequences.length} sequences` : 'No sequence fits.';
      list.replaceChildren(...shown.map(({item: one, at}) => {
        const link = el('a', {href: demo.link(['task', task.name, 'sequence', one.row]), 'aria-current': at === view.index ? 'true' : null, onclick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          select(at);
        }},
        el('span', {class: 'name'}, one.name || `sequence ${one.row}`),
        el('span', {class: 'soft'}, `${one.label ? 'bound' : 'not bound'}, ${one.why}`),
        el('span', {class: 'scores'}, one.scores.map((score, model) => el('span', {
          class: (score > 0) === (one.label === 1) ? 'right' : 'wrong', title: `${task.models[model].label}: ${demo.signed(score)}`,
        }, demo.signed(score)))));
        return el('li', {}, link);
      }));
    }

    function draw() {
      const width = Math.max(Math.floor(stage.clientWidth), 240);
      if (view.from === null || view.to === null || view.to > length()) {
        const fit = Math.floor((width - 40) / 7);
        if (fit >= length() * 0.8) { view.from = 0; view.to = length(); } else { [view.from, view.to] = around(fit); }
      }
      palette = demo.palette();
      geometry = figure(run, task, view, width, palette);
      const picture = geometry.picture;
      const cursor = svg('rect', {y: 14, height: geometry.height - 46, fill: palette.accent, 'fill-opacity': 0.16, stroke: palette.accent, 'stroke-opacity': 0.7, visibility: 'hidden', 'pointer-events': 'none'});
      picture.append(cursor);
      geometry.cursor = cursor;
      picture.addEventListener('pointermove', move);
      picture.addEventListener('pointerdown', grab);
      stage.replaceChildren(picture);
      const one = item();
      asks.href = demo.link(['task', task.name, 'change', one.row]);
      title.textContent = one.name || `sequence ${one.row}`;
      const at = visible().findIndex((entry) => entry.at === view.index);
      facts.replaceChildren(...[
        el('span', {class: one.label ? 'badge bound' : 'badge'}, one.label ? 'bound' : 'not bound'),
        ` ${one.why}, ${one.letters.length} letters${one.place ? `, ${one.place}` : ''}${at < 0 ? '' : `, ${at + 1} of ${visible().length}`}`,
        one.hits === null ? ', JASPAR not looked for' : !task.own.length ? `, ${run.release} has no ${task.protein} matrix` : `, JASPAR hits: ${one.hits.length || 'none'}`,
      ]);
      const whole = view.to - view.from >= length();
      slider.hidden = whole;
      slider.max = String(length() - (view.to - view.from));
      slider.value = String(view.from);
      stage.classList.toggle('zoomed', !whole);
      showReadout();
      remember();
    }

    /** The stretch of so many letters that the models find most salient. */
    function around(span) {
      const weight = new Float64Array(length() + 1);
      for (const model of task.models) {
        const {main} = values(model, run.tracks[0], view.index);
        const most = demo.largest(main) || 1;
        for (let i = 0; i < length(); i += 1) weight[i + 1] += (main[i] || 0) / most;
      }
      for (let i = 0; i < length(); i += 1) weight[i + 1] += weight[i];
      let best = 0;
      const size = Math.min(Math.max(span, FEWEST), length());
      for (let from = 0; from + size <= length(); from += 1) if (weight[from + size] - weight[from] > weight[best + size] - weight[best]) best = from;
      return [best, best + size];
    }

    function showReadout() {
      const one = item();
      const at = view.cursor;
      const there = at !== null && at < length();
      const {cursor, left, step: width} = geometry;
      if (there && at >= view.from && at < view.to) {
        cursor.setAttribute('x', left + (at - view.from) * width);
        cursor.setAttribute('width', width);
        cursor.setAttribute('visibility', 'visible');
      } else cursor.setAttribute('visibility', 'hidden');
      const notes = [];
      if (there) {
        for (const [start, stop, strand, motif, , p] of one.hits || []) {
          if (start <= at && at < stop) notes.push(`${task.own[motif].name} ${task.own[motif].id} ${strand < 0 ? '(reverse)' : '(forward)'} p ${demo.pValue(p)}`);
        }
        for (const [start, stop, , motif, role] of one.sites) if (start <= at && at < stop) notes.push(`planted ${motif} (${role})`);
      }
      readout.replaceChildren(
        el('p', {class: 'spot'}, there ? [el('strong', {id: 'position'}, `Position ${at + 1}`), ' ', el('b', {id: 'base', class: `base base-${one.letters[at]}`}, one.letters[at]), ' ', el('span', {class: 'soft'}, notes.join('; '))]
          : el('span', {class: 'soft'}, 'Point at a letter to read its values.')),
        el('table', {}, el('thead', {}, el('tr', {}, ['Model', 'Score', task.models.some((model) => model.temperature !== 1) ? 'P(bound), calibrated' : 'P(bound)', tracks[view.track].unit, 'Forward', 'Backward'].map((label, column) => el('th', {scope: 'col', class: column === 1 || column === 2 ? 'number extra' : column ? 'number' : null}, label)))),
          el('tbody', {}, task.models.map((model, place) => {
            const shown = values(model, tracks[view.track], view.index);
            const cell = (name, array) => el('td', {class: 'number', 'data-cell': `${model.spec}:${name}`}, there && array ? demo.short(array[at]) : '–');
            return el('tr', {}, el('th', {scope: 'row'}, model.label),
              el('td', {class: 'number extra'}, demo.signed(one.scores[place])), el('td', {class: 'number extra'}, demo.fixed(demo.probability(one.scores[place], task.models[place]))),
              cell('main', shown.main), cell('forward', shown.forward), cell('reverse', shown.reverse));
          }))));
    }

    const position = (event) => {
      const box = geometry.picture.getBoundingClientRect();
      const x = (event.clientX - box.left) * geometry.width / box.width;
      return view.from + Math.floor((x - geometry.left) / geometry.step);
    };
    let grabbed = null;
    function move(event) {
      if (grabbed && event.buttons) {
        const moved = Math.round((grabbed.x - event.clientX) / geometry.step);
        const span = view.to - view.from;
        if (moved && span < length()) {
          const from = Math.min(Math.max(grabbed.from + moved, 0), length() - span);
          if (from !== view.from) setWindow(from, from + span);
        }
        return;
      }
      grabbed = null;
      const at = position(event);
      const next = at >= view.from && at < view.to ? at : view.cursor;
      if (next !== view.cursor) { view.cursor = next; showReadout(); }
    }
    function grab(event) {
      if (event.pointerType === 'mouse') grabbed = {x: event.clientX, from: view.from};
      const at = position(event);
      if (at >= view.from && at < view.to) { view.cursor = at; showReadout(); }
    }

    function keys(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== 'checkbox') return;
      const sideways = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (sideways && event.shiftKey) {
        const from = view.cursor === null ? Math.floor((view.from + view.to) / 2) : view.cursor + sideways;
        view.cursor = Math.min(Math.max(from, 0), length() - 1);
        const span = view.to - view.from;
        if (view.cursor < view.from) setWindow(view.cursor, view.cursor + span);
        else if (view.cursor >= view.to) setWindow(view.cursor - span + 1, view.cursor + 1);
        else showReadout();
      } else if (sideways) step(sideways);
      else if (event.key === '+' || event.key === '=') zoom(1 / 1.6);
      else if (event.key === '-') zoom(1.6);
      else if (event.key === '0') setWindow(0, length());
      else if (event.key === 'h' || event.key === 'H') { const box = document.getElementById('toggle-hits'); if (!box.disabled) box.click(); } else return;
      event.preventDefault();
    }

    const fileName = (kind) => `${task.name}_${item().name || item().row}.${kind}`;
    function saveFigure() {
      const {picture} = figure(run, task, view, 1000, demo.palette('light'));
      picture.prepend(svg('rect', {width: '100%', height: '100%', fill: '#ffffff'}));
      picture.prepend(svg('title', {}, `${task.name}, ${item().name}`));
      demo.download(fileName('svg'), `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(picture)}\n`, 'image/svg+xml');
    }
    function saveNumbers() {
      const clean = (text) => String(text).replace(/\s+/g, ' ');
      const columns = [];
      task.models.forEach((model) => {
        for (const track of run.tracks) if (has(model, track)) columns.push([`${model.spec}:${track.name}`, values(model, track, view.index).main]);
        const {forward, reverse} = values(model, run.tracks[0], view.index);
        if (forward) columns.push([`${model.spec}:temporal`, forward]);
        if (reverse) columns.push([`${model.spec}:temporal_reverse`, reverse]);
      });
      const covered = (at, spans) => (spans || []).some(([start, stop]) => start <= at && at < stop);
      const lines = [
        `# task: ${clean(task.name)}`, `# sequence: ${clean(item().name)}`, `# corpus row: ${item().row}`, `# label: ${item().label}`,
        ...task.models.map((model, at) => `# score ${model.spec}: ${item().scores[at]}`),
        ['position', 'base', 'jaspar_hit', 'planted_site', ...columns.map(([name]) => name)].join('\t'),
        ...[...item().letters].map((letter, at) => [at + 1, letter, Number(covered(at, item().hits)), Number(covered(at, item().sites)), ...columns.map(([, array]) => (Number.isNaN(array[at]) ? '' : Number(array[at].toPrecision(6))))].join('\t')),
      ];
      demo.download(fileName('tsv'), `${lines.join('\n')}\n`, 'text/tab-separated-values');
    }

    search.addEventListener('input', showList);
    let width = 0;
    const observer = new ResizeObserver(() => {
      if (Math.floor(stage.clientWidth) !== width) { width = Math.floor(stage.clientWidth); draw(); }
    });
    document.addEventListener('keydown', keys);
    return {
      node,
      ready: () => { width = Math.floor(stage.clientWidth); showList(); draw(); reveal(); observer.observe(stage); },
      leave: () => { document.removeEventListener('keydown', keys); observer.disconnect(); },
    };
  };

  /** The picture of one sequence between `view.from` and `view.to`, `width` pixels wide. */
  function figure(run, task, view, width, palette) {
    const tracks = byName(run.tracks);
    const item = task.sequences[view.index];
    const narrow = width < 560;
    const left = narrow ? 40 : 76;
    const step = (width - left - 6) / (view.to - view.from);
    const picture = svg('svg', {xmlns: 'http://www.w3.org/2000/svg', class: 'figure', role: 'img', 'font-family': SANS,
      'aria-label': `${item.name}, positions ${view.from + 1} to ${view.to}: letters of each model as high as their ${tracks[view.track].unit}; the table above reads the values`});
    const px = (at) => left + (at - view.from) * step;
    const text = (x, y, size, content, extra = {}) => svg('text', {x, y, 'font-size': size, fill: palette.ink, ...extra}, content);
    const side = (y, content) => text(left - 6, y, narrow ? 10 : 11, content, {'text-anchor': 'end', fill: palette.soft});
    const cut = (span) => [Math.max(span[0], view.from), Math.min(span[1], view.to)];
    const inView = (span) => span[0] < view.to && span[1] > view.from;
    let y = 12;

    // Positions.
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => size * step >= 30) || 1000;
    for (let at = view.from; at < view.to; at += 1) {
      if ((at + 1) % every && !(at === 0 && every <= 10)) continue;
      if (at === 0 && every > 1 && every < 2) continue;
      picture.append(text(px(at) + step / 2, y, 10, at + 1, {'text-anchor': 'middle', fill: palette.soft}));
    }
    y += 6;

    // Known motifs above the letters they match.
    const hits = view.hits ? (item.hits || []).filter(inView).sort((a, b) => a[5] - b[5]) : [];
    const lanes = [];
    for (const hit of hits) {
      const lane = lanes.find((placed) => placed.every((other) => other[1] <= hit[0] || hit[1] <= other[0]));
      if (lane) lane.push(hit);
      else if (lanes.length < 2) lanes.push([hit]);
    }
    for (const lane of lanes) {
      for (const [start, stop, strand, motif] of lane) {
        const {matrix} = task.own[motif];
        const drawn = (strand < 0 ? demo.reverseComplement(matrix) : matrix).slice(Math.max(view.from - start, 0), Math.max(view.to - start, 0));
        const logo = demo.logo(drawn, step, 30, palette);
        logo.setAttribute('transform', `translate(${px(Math.max(start, view.from))} ${y})`);
        picture.append(logo);
      }
      y += 34;
    }
    if (lanes.length) picture.append(side(y - 12 - 17 * (lanes.length - 1), narrow ? 'hits' : 'JASPAR'));

    // The letters.
    const rowHeight = 20;
    for (const hit of hits) {
      const [start, stop] = cut(hit);
      picture.append(svg('rect', {class: 'hit', x: px(start), y, width: (stop - start) * step, height: rowHeight, rx: 3, fill: palette.hit, stroke: palette.hitLine}));
    }
    for (let at = view.from; at < view.to; at += 1) {
      const letter = item.letters[at];
      if (step >= 5) picture.append(text(px(at) + step / 2, y + 14.5, Math.min(15, step * 1.5), letter, {'text-anchor': 'middle', 'font-family': MONO, 'font-weight': 700, fill: palette.letters[letter] || palette.soft}));
      else picture.append(svg('rect', {x: px(at), y: y + 5, width: step, height: 10, fill: palette.letters[letter] || palette.soft}));
    }
    picture.append(side(y + 14, narrow ? 'seq' : 'sequence'));
    y += rowHeight + 3;
    const sites = view.sites ? item.sites.filter(inView) : [];
    if (sites.length) {
      for (const site of sites) {
        const [start, stop] = cut(site);
        picture.append(svg('rect', {class: 'site', x: px(start) + 1, y: y + 2, width: (stop - start) * step - 2, height: 3, fill: palette.site, 'fill-opacity': site[4] === 'primary' ? 1 : 0.45}));
      }
      picture.append(side(y + 7, narrow ? 'site' : 'planted'));
      y += 12;
    }

    // Each model: letters as high as their values, then strips.
    task.models.forEach((model, place) => {
      const shown = values(model, tracks[view.track], view.index);
      const chance = demo.probability(item.scores[place], model);
      const right = (chance > 0.5) === (item.label === 1);
      y += 24;
      picture.append(svg('rect', {x: 0, y: y - 9, width: 10, height: 10, rx: 2, fill: demo.seriesColour(demo.specPlace(run, model.spec), palette)}));
      picture.append(svg('text', {x: 16, y, 'font-size': 13, fill: palette.ink, 'font-weight': 600}, model.label,
        svg('tspan', {'font-weight': 400, fill: palette.soft}, `   ${demo.signed(item.scores[place])}, P ${demo.fixed(chance)}, ${right ? 'right' : 'wrong'}`)));
      y += 7;
      if (!shown.main) { picture.append(text(left, y + 14, 11, 'not computed', {fill: palette.soft})); y += 20; return; }
      const largest = demo.largest(shown.main) || 1;
      const low = Math.min(0, ...Array.from(shown.main, (value) => (value < 0 ? value : 0))) / largest;
      const high = Math.max(0, ...Array.from(shown.main, (value) => (value > 0 ? value : 0))) / largest;
      const tall = 66;
      const scale = tall / ((high - low) || 1);
      const zero = y + high * scale;
      for (let at = view.from; at < view.to; at += 1) {
        const value = shown.main[at] / largest;
        const letter = item.letters[at];
        const size = Math.abs(value) * scale;
        if (!(size > 0.3) || !palette.letters[letter] || letter === 'N') continue;
        picture.append(demo.glyph(letter, px(at) + step * 0.04, value > 0 ? zero - size : zero, step * 0.92, size, palette.letters[letter], value > 0 ? null : 0.7));
      }
      picture.append(svg('line', {x1: left, x2: width - 6, y1: zero, y2: zero, stroke: palette.line}));
      picture.append(side(zero - high * scale + 9, demo.short(Number((largest * high).toPrecision(2)))));
      y += tall + 4;
      if (view.windows && Object.keys(model.windows).length) {
        const start = (model.windows[view.track] || [])[view.index];
        if (start !== null && start !== undefined && inView([start, start + model.window_width])) {
          const [a, b] = cut([start, start + model.window_width]);
          picture.append(svg('path', {class: 'window', d: `M${px(a)} ${y - 3}v5H${px(b)}v-5`, fill: 'none', stroke: palette.accent, 'stroke-width': 2}));
        }
        picture.append(side(y + 5, narrow ? 'win' : 'window'));
        y += 8;
      }
      const strips = [[narrow ? 'sal' : tracks[view.track].size ? 'saliency' : 'values', shown.main], [narrow ? 'fwd' : 'forward', shown.forward], [narrow ? 'bwd' : 'backward', shown.reverse]];
      for (const [label, array] of strips) {
        if (!array) continue;
        const most = demo.largest(array) || 1;
        const group = svg('g', {class: 'strip', 'shape-rendering': 'crispEdges'});
        for (let at = view.from; at < view.to; at += 1) group.append(svg('rect', {x: px(at), y, width: step, height: 12, fill: demo.stripColour(array[at] / most, palette)}));
        picture.append(group, side(y + 10, label));
        y += 15;
      }
    });

    // What the colours mean.
    y += 18;
    let x = left;
    const item_ = (shape, label, size) => {
      if (x + size + label.length * 6 > width) { x = left; y += 18; }
      picture.append(shape(x, y), text(x + size + 5, y + 9, 11, label, {fill: palette.soft}));
      x += size + 5 + label.length * 6 + 14;
    };
    for (const letter of 'ACGT') item_((a, b) => demo.glyph(letter, a, b, 9, 10, palette.letters[letter]), '', 4);
    x += 6;
    if (hits.length) item_((a, b) => svg('rect', {x: a, y: b, width: 14, height: 10, rx: 2, fill: palette.hit, stroke: palette.hitLine}), 'JASPAR hit', 14);
    if (sites.length) item_((a, b) => svg('rect', {x: a, y: b + 4, width: 14, height: 3, fill: palette.site}), 'planted site', 14);
    const bar = (from) => (a, b) => svg('g', {}, Array.from({length: 12}, (_, k) => svg('rect', {x: a + 4 * k, y: b, width: 4.2, height: 10, fill: demo.stripColour(from + (1 - from) * k / 11, palette)})));
    if (tracks[view.track].size) item_(bar(0), '0 to largest', 48);
    item_(bar(-1), narrow ? 'negative to positive' : 'negative to positive score', 48);
    y += 16;
    picture.setAttribute('width', width);
    picture.setAttribute('height', y);
    picture.setAttribute('viewBox', `0 0 ${width} ${y}`);
    return {picture, left, step, width, height: y};
  }
})();
