'use strict';
// Which view is shown: the address says it, #/ , #/task/NAME, #/task/NAME/sequence/ROW?options or #/task/NAME/change/ROW.
(() => {
  const {el} = demo;
  const main = document.getElementById('main');
  const trail = document.getElementById('trail');
  const theme = document.getElementById('theme');
  let run = null;
  let turn = 0;
  let leave = null;  // clears what the view shown has set up outside of itself
  let shownPath = null;

  function showTheme() {
    demo.applyTheme();
    const other = demo.theme() === 'dark' ? 'light' : 'dark';
    theme.textContent = other === 'dark' ? 'Dark' : 'Light';
    theme.setAttribute('aria-label', `Switch to the ${other} theme`);
  }
  theme.addEventListener('click', () => { demo.setTheme(demo.theme() === 'dark' ? 'light' : 'dark'); showTheme(); route(true); });
  demo.onThemeChange(() => { showTheme(); route(true); });

  function crumbs(...steps) {
    trail.replaceChildren(el('ol', {}, steps.map(([label, href], at) => el('li', {}, at < steps.length - 1 ? el('a', {href}, label) : el('span', {'aria-current': 'page', title: label}, label)))));
  }

  function place(view, title, path) {
    if (leave) leave();
    leave = view.leave || null;
    main.replaceChildren(view.node || view);
    document.title = `${title} · Deep Motif Dashboard`;
    if (view.ready) view.ready();
    // Another view: from its top, with the reading position on its heading. Not on the first, and not on a mere redraw.
    if (shownPath !== null && shownPath !== path) {
      window.scrollTo(0, 0);
      const heading = main.querySelector('h1');
      if (heading) heading.focus({preventScroll: true});
    }
    shownPath = path;
  }

  const trouble = (title, text) => el('div', {class: 'trouble'}, el('h1', {tabindex: '-1'}, title), el('p', {}, text), el('p', {}, el('a', {class: 'button', href: '#/'}, 'To the overview')));

  async function route(redraw = false) {
    const mine = ++turn;
    const state = demo.parse(location.hash);
    const path = state.parts.join('/');
    try {
      if (!run) run = await demo.load('run');
      demo.methods = run.methods;
      document.getElementById('foot').textContent = `${run.title} · ${Object.entries(run.versions).map(([name, version]) => `${name} ${version}`).join(', ')}`;
      if (state.parts[0] !== 'task') {
        crumbs(['Overview', '#/']);
        place(demo.views.overview(run, state), run.title, path);
        return;
      }
      const at = run.tasks.findIndex((task) => task.name === state.parts[1]);
      if (at < 0) {
        crumbs(['Overview', '#/'], ['Not found', '']);
        place(trouble('No such task', `This run has no task “${state.parts[1] || ''}”.`), 'Not found', path);
        return;
      }
      if (!redraw && shownPath !== path) main.setAttribute('aria-busy', 'true');
      const task = await demo.load(demo.taskKey(at));
      const changes = state.parts[2] === 'change' && task.answers && task.sequences.length;
      const answers = changes ? await demo.load(demo.modelsKey(at)) : null;
      if (mine !== turn) return;  // the reader has moved on meanwhile
      main.removeAttribute('aria-busy');
      if (changes) {
        crumbs(['Overview', '#/'], [task.name, demo.link(['task', task.name])], ['Ask the models', '']);
        place(demo.views.change(run, task, answers, state), `${task.name}, ask the models`, `task/${state.parts[1]}/change/${state.parts[3]}`);
      } else if (state.parts[2] === 'sequence' && task.sequences.length) {
        crumbs(['Overview', '#/'], [task.name, demo.link(['task', task.name])], ['Sequences', '']);
        place(demo.views.viewer(run, task, state), `${task.name}, sequences`, `task/${state.parts[1]}/sequence`);
      } else {
        crumbs(['Overview', '#/'], [task.name, '']);
        place(demo.views.task(run, task, at), task.name, path);
      }
    } catch (error) {
      if (mine !== turn) return;
      main.removeAttribute('aria-busy');
      place(trouble('This view cannot be shown', error.message), 'Trouble', path);
    }
  }

  window.addEventListener('hashchange', () => route());
  document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); main.focus(); });
  showTheme();
  route();
})();
