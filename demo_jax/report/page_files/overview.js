'use strict';
// The first view: what the run is, its tables, and every task.
(() => {
  const {el} = demo;

  demo.specPlace = (run, spec) => Math.max(run.specs.findIndex((known) => known.spec === spec), 0);
  demo.specLabel = (run, spec) => (run.specs.find((known) => known.spec === spec) || {label: spec}).label;

  demo.views.overview = (run, state) => (
    el('div', {class: 'overview'},
      el('section', {class: 'intro'},
        el('p', {class: 'eyebrow'}, run.source === 'simulated' ? 'Run on simulated data' : 'Run'),
        el('h1', {tabindex: '-1'}, run.title),
        el('dl', {class: 'facts'},
          fact(run.tasks.length, run.tasks.length === 1 ? 'task' : 'tasks'),
          fact(run.n_models, run.n_seeds > 1 ? `models, ${run.n_seeds} seeds` : 'models'),
          fact(run.n_sequences, 'sequences'),
          headline(run))),
      run.missing.length ? el('ul', {class: 'notices', 'aria-label': 'What this run does not hold'}, run.missing.map((line) => el('li', {}, line))) : null,
      tasks(run, state),
      el('section', {'aria-labelledby': 'results'},
        el('h2', {id: 'results'}, 'Results over tasks'),
        run.tables.filter((table) => table.wide).map((table) => figure(run, table)),
        el('div', {class: 'tables'}, run.tables.filter((table) => !table.wide).map((table) => figure(run, table)))))
  );

  const fact = (value, label) => el('div', {}, el('dd', {}, typeof value === 'number' ? demo.count(value) : value), el('dt', {}, label));
  // Validation data chose, test data measure: the best of several test scores would flatter the run.
  function headline(run) {
    if (!run.headline) return null;
    const {mean, n_tasks: n, spec} = run.headline;
    const measure = n === 1 ? 'test AUROC' : 'mean test AUROC';
    if (spec) return fact(demo.fixed(mean), `${measure}, ${demo.specLabel(run, spec)}`);
    return fact(demo.fixed(mean), `${measure} of the ${n === 1 ? 'model' : 'models'} that validation data chose${n === 1 ? '' : ', one per task'}`);
  }
  const formats = {
    text: null,
    count: demo.count,
    one: (value) => demo.fixed(value, 1),
    three: (value) => demo.fixed(value, 3),
    signed: (value) => (value > 0 ? '+' : '') + demo.fixed(value, 3),
    p: demo.pValue,
  };

  // A table as it says itself that it is shown: see demo_jax/evaluation/table.py.
  function figure(run, table) {
    if (!table.rows.length) return el('figure', {class: 'table'}, el('figcaption', {}, table.title), el('p', {class: 'empty'}, table.empty));
    const options = {footnote: table.note, className: table.wide ? 'wide' : ''};
    if (!table.by_method) return demo.table(table.title, table.columns.map((one) => column(run, one)), table.rows, options);
    const [first, ...others] = table.columns;
    const cell = (row) => demo.besides(formats[first.format](row[first.name]), ...others.map((one) => row[one.name] !== null && `${one.label} ${formats[one.format](row[one.name])}`));
    return demo.byMethod(table.title, run, table.rows, cell, options);
  }

  function column(run, {name, label, format}) {
    if (format === 'spec') return {label, cell: (row) => spec(run, row[name])};
    if (format === 'tasks') return dots(run, name, label);
    const show = formats[format];
    return {label, number: Boolean(show), cell: (row) => (show ? show(row[name]) : row[name] ?? '–')};
  }

  function spec(run, name) {
    const known = run.specs.some((one) => one.spec === name);
    if (known) return [demo.key(demo.specPlace(run, name)), ' ', demo.specLabel(run, name)];
    const [, of, times] = String(name).match(/^(.*)( x \d+)$/) || [null, name, ''];  // several models together
    return demo.specLabel(run, of) + times;
  }

  // Every task's test AUROC of the row's architecture.
  function dots(run, name, label) {
    const values = run.specs.map((_, at) => run.tasks.map((task) => task.auroc[at]).filter((value) => value !== null));
    const low = Math.floor(Math.min(0.95, ...values.flat()) * 20) / 20;
    return {label: `${label}, ${low.toFixed(2)} to 1`, cell: (row) => {
      const at = run.specs.findIndex((one) => one.spec === row[name]);
      return at < 0 ? '' : demo.dots(values[at], low, at, `AUROC of ${values[at].length} tasks, ${demo.fixed(Math.min(...values[at]))} to ${demo.fixed(Math.max(...values[at]))}`);
    }};
  }

  function ofOwn(run) {
    const shown = run.tasks.filter((task) => task.own !== null);
    if (!shown.length) return null;
    const otherwise = shown.some((task) => task.own_spec !== task.chosen) ? ', or where that is not explained, of the explained one with the best validation AUROC' : '';
    return ` Own motif: share of test sequences whose saliency window matches the TF’s JASPAR matrix, of the model in bold${otherwise}.`;
  }

  // Every task: sorted by any column, filtered by a word.
  function tasks(run, state) {
    const number = (label, value, digits = 3) => ({label, value, number: true, cell: (task) => demo.fixed(value(task), digits)});
    const columns = [
      {label: 'Task', value: (task) => task.name.toLowerCase(), cell: (task) => el('a', {href: demo.link(['task', task.name])}, task.name)},
      {label: 'TF', value: (task) => task.protein.toLowerCase(), cell: (task) => task.protein},
      ...run.specs.map((spec, at) => ({
        ...number(spec.label, (task) => task.auroc[at]),
        cell: (task) => el('span', {class: task.chosen === spec.spec ? 'chosen' : null, title: task.chosen === spec.spec ? 'chosen by validation AUROC' : null}, demo.fixed(task.auroc[at])),
      })),
      run.tasks.some((task) => task.deepbind !== null) ? number('DeepBind (published)', (task) => task.deepbind) : null,
      run.tasks.some((task) => task.own !== null) ? {...number('Own motif', (task) => task.own), cell: (task) => (task.own === null ? '–' : el('span', {title: demo.specLabel(run, task.own_spec)}, `${Math.round(100 * task.own)}%`))} : null,
      {...number('Training sequences', (task) => task.n_train), cell: (task) => demo.count(task.n_train)},
    ].filter(Boolean);
    let order = Number(state.options.by || 0);
    if (!(order >= 0 && order < columns.length)) order = 0;
    let down = state.options.down === '1';
    const search = el('input', {type: 'search', id: 'task-search', placeholder: 'CTCF, GATA1, …', autocomplete: 'off', spellcheck: 'false', value: state.options.find || ''});
    const status = el('p', {class: 'soft', role: 'status'});
    const body = el('tbody', {});
    const head = el('tr', {}, columns.map((one, at) => el('th', {scope: 'col', class: one.number ? 'number' : null}, el('button', {type: 'button', onclick: () => {
      down = at === order ? !down : Boolean(one.number);
      order = at;
      show();
    }}, one.label))));

    function found() {
      const word = search.value.trim().toLowerCase();
      const rows = run.tasks.filter((task) => !word || task.name.toLowerCase().includes(word) || task.protein.toLowerCase().includes(word));
      const {value} = columns[order];
      return rows.map((task, at) => [value(task), at, task]).sort((a, b) => {
        if (a[0] === b[0]) return a[1] - b[1];
        if (a[0] === null || b[0] === null) return a[0] === null ? 1 : -1;  // what is missing comes last
        return (a[0] < b[0] ? -1 : 1) * (down ? -1 : 1);
      }).map((entry) => entry[2]);
    }

    function show() {
      const rows = found();
      columns.forEach((one, at) => head.children[at].setAttribute('aria-sort', at === order ? (down ? 'descending' : 'ascending') : 'none'));
      body.replaceChildren(...rows.map((task) => el('tr', {}, columns.map((one, at) => el(at ? 'td' : 'th', {scope: at ? null : 'row', class: one.number ? 'number' : null}, one.cell(task))))));
      status.textContent = rows.length === run.tasks.length ? `${rows.length} tasks` : rows.length ? `${rows.length} of ${run.tasks.length} tasks` : `No task is called “${search.value.trim()}”.`;
      history.replaceState(null, '', demo.link([], {find: search.value.trim(), by: order || null, down: down ? 1 : null}));
    }
    search.addEventListener('input', show);
    search.addEventListener('keydown', (event) => {
      const first = found()[0];
      if (event.key === 'Enter' && first) location.hash = demo.link(['task', first.name]);
    });
    show();
    return el('section', {'aria-labelledby': 'tasks'},
      el('div', {class: 'heading'}, el('h2', {id: 'tasks'}, 'Tasks'),
        el('div', {class: 'find'}, el('label', {for: 'task-search'}, 'Find a task'), search, status)),
      el('div', {class: 'scroll tall', tabindex: '0', role: 'region', 'aria-label': 'Table of tasks'}, el('table', {class: 'tasks'}, el('thead', {}, head), body)),
      el('p', {class: 'note'}, 'Test AUROC; in bold the model that validation data choose.', ofOwn(run)));
  }
})();
