'use strict';
// What every view uses: elements, numbers as text, data on demand. Text from files reaches the page as text nodes only.
const demo = {views: {}};

(() => {
  const SVG = 'http://www.w3.org/2000/svg';

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? '' : value);
    }
    for (const child of children.flat(3)) {
      if (child === null || child === undefined || child === false) continue;
      element.append(child instanceof Node ? child : document.createTextNode(String(child)));
    }
    return element;
  }

  /** An HTML element; attributes that are null or false are left out, `onclick` and the like are listeners. */
  demo.el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  /** An SVG element. */
  demo.svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

  // Data: each file in data/ calls demo.receive(key, value).
  const received = new Map();
  const waiting = new Map();
  demo.receive = (key, value) => received.set(key, value);
  demo.load = (key) => {
    if (received.has(key)) return Promise.resolve(received.get(key));
    if (!waiting.has(key)) {
      waiting.set(key, new Promise((resolve, reject) => {
        const script = document.createElement('script');
        script.src = `data/${key}.js`;
        script.onload = () => (received.has(key) ? resolve(received.get(key)) : reject(new Error(`data/${key}.js holds no data`)));
        script.onerror = () => { waiting.delete(key); reject(new Error(`data/${key}.js is missing from this folder`)); };
        document.head.append(script);
      }));
    }
    return waiting.get(key);
  };
  demo.taskKey = (place) => `task-${String(place).padStart(4, '0')}`;
  demo.modelsKey = (place) => `models-${String(place).padStart(4, '0')}`;

  /** Packed values (see report/payload.py) of one sequence: Float64Array, NaN where there is nothing. */
  demo.unpack = (packed, index) => {
    if (!packed) return null;
    if (!packed.bytes) {
      const text = atob(packed.data);
      packed.bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    }
    const length = packed.bytes.length / 2 / packed.scale.length;
    const view = new DataView(packed.bytes.buffer, index * length * 2, length * 2);
    return Float64Array.from({length}, (_, i) => {
      const whole = view.getInt16(2 * i, true);
      return whole === -32768 ? NaN : whole * packed.scale[index];
    });
  };

  // Numbers as text.
  const missing = (value) => value === null || value === undefined || Number.isNaN(value);
  demo.fixed = (value, digits = 3) => (missing(value) ? '–' : value.toFixed(digits).replace('-', '−'));
  demo.short = (value) => {
    if (missing(value)) return '–';
    if (value === 0) return '0';
    const size = Math.abs(value);
    const text = size < 1e-3 || size >= 1e5 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
    return text.replace(/-/g, '−');
  };
  demo.signed = (value) => (missing(value) ? '–' : (value > 0 ? '+' : '') + demo.fixed(value, 2));
  demo.pValue = (value) => {
    if (missing(value)) return '–';
    return (value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(2)))).replace('-', '−');
  };
  demo.count = (value) => (missing(value) ? '–' : value.toLocaleString('en'));
  demo.probability = (score, model) => 1 / (1 + Math.exp(-score / (model.temperature || 1) - (model.shift || 0)));

  demo.methods = {};  // label by name, from the run
  /** What a task's page calls a model: with the number of seeds that answer together. */
  demo.modelLabel = (task, model) => (task.models.find((one) => one.spec === model.spec) || model).label;
  demo.methodLabel = (method) => demo.methods[method] || method;

  // Colours. Text and letters have a contrast of 4.5 or more against `panel` (a test measures it).
  const PALETTES = {
    light: {
      panel: '#ffffff', ink: '#1b1e24', soft: '#59606b', line: '#d8dbe0', grid: '#eceef1', blank: '#e3e5e9', accent: '#7a1f5c',
      hit: '#fcdcea', hitLine: '#b8316f', site: '#1b1e24', mark: '#7a1f5c',
      letters: {A: '#00704f', C: '#0062a0', G: '#885600', T: '#ad4500', N: '#59606b'},
      series: ['#0067a3', '#a85b00', '#007a57', '#9c3d78', '#2b6f9e', '#8f3b1b', '#4d4d4d'],
      low: [33, 102, 172], zero: [255, 255, 255], high: [178, 24, 43],
    },
    dark: {
      panel: '#1b1f27', ink: '#e8eaee', soft: '#a3abb8', line: '#3a414d', grid: '#2a303a', blank: '#333a46', accent: '#f0a6cf',
      hit: '#5b2743', hitLine: '#f08dbb', site: '#e8eaee', mark: '#f0a6cf',
      letters: {A: '#3ccf9f', C: '#68b9f2', G: '#f0b94a', T: '#ff9660', N: '#a3abb8'},
      series: ['#68b9f2', '#f0b06a', '#3ccf9f', '#e791c2', '#9fd0f5', '#ff9660', '#c4c8cf'],
      low: [92, 164, 236], zero: [38, 44, 54], high: [246, 96, 106],
    },
  };
  const prefersDark = window.matchMedia('(prefers-color-scheme: dark)');
  let chosen = null;
  try { chosen = localStorage.getItem('demo-theme'); } catch (error) { chosen = null; }
  if (chosen !== 'light' && chosen !== 'dark') chosen = null;
  demo.theme = () => chosen || (prefersDark.matches ? 'dark' : 'light');
  demo.palette = (theme = demo.theme()) => PALETTES[theme];
  demo.setTheme = (theme) => {
    chosen = theme;
    try { localStorage.setItem('demo-theme', theme); } catch (error) { /* private window: not remembered */ }
    demo.applyTheme();
  };
  demo.applyTheme = () => { document.documentElement.dataset.theme = demo.theme(); };
  demo.onThemeChange = (listener) => prefersDark.addEventListener('change', () => { if (!chosen) listener(); });
  demo.seriesColour = (place, palette = demo.palette()) => palette.series[place % palette.series.length];
  demo.dashes = ['', '6 3', '2 2', '8 3 2 3', '1 3', '10 4', '4 2 1 2', '12 2'];

  /** A link to a view: parts are encoded, options are added as ?name=value. */
  demo.link = (parts, options = {}) => {
    const query = Object.entries(options).filter(([, value]) => value !== null && value !== undefined && value !== '')
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
    return `#/${parts.map(encodeURIComponent).join('/')}${query ? `?${query}` : ''}`;
  };
  demo.parse = (hash) => {
    const [path, query = ''] = hash.replace(/^#\/?/, '').split('?');
    const decode = (text) => { try { return decodeURIComponent(text); } catch (error) { return text; } };
    const options = {};
    for (const pair of query.split('&').filter(Boolean)) {
      const [name, value = ''] = pair.split('=');
      options[decode(name)] = decode(value);
    }
    return {parts: path.split('/').filter(Boolean).map(decode), options};
  };

  /** Hand a text to the browser as a file. */
  demo.download = (name, text, type) => {
    const url = URL.createObjectURL(new Blob([text], {type}));
    const anchor = demo.el('a', {href: url, download: name.replace(/[^\w.+@~-]+/g, '_').slice(0, 120)});
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  /** A table in a box of its own that scrolls sideways where the screen is narrow. */
  demo.table = (caption, columns, rows, {className = '', footnote = ''} = {}) => {
    const {el} = demo;
    const head = el('tr', {}, columns.map((column) => el('th', {scope: 'col', class: column.number ? 'number' : null}, column.label)));
    const body = rows.map((row) => el('tr', {class: row.highlight ? 'highlight' : null}, columns.map((column, at) => {
      const content = column.cell(row);
      return el(at ? 'td' : 'th', {scope: at ? null : 'row', class: column.number ? 'number' : null}, content);
    })));
    return el('figure', {class: `table ${className}`},
      el('figcaption', {}, caption),
      el('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption},
        el('table', {}, el('thead', {}, head), el('tbody', {}, body))),
      footnote ? el('p', {class: 'note'}, footnote) : null);
  };

  /** A table with a row per method and a column per spec; `cell(row)` gives what stands there. */
  demo.byMethod = (caption, run, rows, cell, options) => {
    const specs = run.specs.filter((spec) => rows.some((row) => row.spec === spec.spec));
    const methods = [...new Set(rows.map((row) => row.method))];
    return demo.table(caption, [
      {label: 'Method', cell: (method) => demo.methodLabel(method)},
      ...specs.map((spec) => ({label: spec.label, number: true, cell: (method) => {
        const found = rows.find((row) => row.spec === spec.spec && row.method === method);
        return found ? cell(found) : '–';
      }})),
    ], methods, options);
  };
  /** A value, and in small what it is to be compared with. */
  demo.besides = (value, ...others) => (value === '–' ? value : [value, ...others.filter(Boolean).map((other) => demo.el('span', {class: 'chance'}, other))]);
})();
