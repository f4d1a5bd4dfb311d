'use strict';
// Figures as SVG, with colours as attributes, so that a downloaded figure looks as it does on the page.
(() => {
  const {svg} = demo;
  const LETTERS = 'ACGT';
  // Each letter in a box of 100 x 100.
  const GLYPHS = {
    A: 'M0 100L36 0H64L100 100H75L68 78H32L25 100ZM38 59H62L50 21Z',
    C: 'M100 35C96 12 76 0 53 0C20 0 0 20 0 50C0 80 20 100 53 100C77 100 95 88 100 64L76 60C72 74 64 80 53 80C36 80 26 70 26 50C26 30 36 20 53 20C64 20 72 26 76 40Z',
    G: 'M100 35C96 12 76 0 53 0C20 0 0 20 0 50C0 80 20 100 53 100C73 100 90 93 100 82V45H53V63H76V73C70 78 62 80 54 80C36 80 26 70 26 50C26 30 36 20 53 20C64 20 72 26 76 38Z',
    T: 'M0 0H100V20H63V100H37V20H0Z',
  };

  /** One letter stretched into a box. */
  demo.glyph = (letter, x, y, width, height, colour, opacity) => svg('path', {
    d: GLYPHS[letter], fill: colour, 'fill-rule': 'evenodd', 'fill-opacity': opacity,
    transform: `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${(width / 100).toFixed(4)} ${(height / 100).toFixed(4)})`,
  });

  /** Bits of each letter of a column of probabilities. */
  demo.bits = (column) => {
    const information = 2 + column.reduce((sum, p) => sum + (p > 0 ? p * Math.log2(p) : 0), 0);
    return column.map((p) => p * information);
  };

  /** A logo of probabilities, 2 bits high: a group whose columns are `step` wide, `height` high. */
  demo.logo = (matrix, step, height, palette, first = 0) => {
    const group = svg('g', {});
    matrix.forEach((column, place) => {
      let y = height;
      demo.bits(column).map((value, letter) => [value, letter]).sort((a, b) => a[0] - b[0]).forEach(([value, letter]) => {
        const size = value / 2 * height;
        if (size < 0.4) return;
        y -= size;
        const name = LETTERS[letter];
        group.append(demo.glyph(name, (first + place) * step + step * 0.04, y, step * 0.92, size, palette.letters[name]));
      });
    });
    return group;
  };

  demo.reverseComplement = (matrix) => matrix.map((column) => [...column].reverse()).reverse();
  demo.consensus = (matrix) => matrix.map((column) => LETTERS[column.indexOf(Math.max(...column))]).join('');

  /** A logo with its axis, as a picture of its own. */
  demo.logoFigure = (matrix, label, {step = 18, height = 64, ticks = false} = {}) => {
    const palette = demo.palette();
    const left = 22;
    const width = left + matrix.length * step + 2;
    const total = height + (ticks ? 16 : 4);
    const picture = svg('svg', {
      viewBox: `0 0 ${width} ${total}`, width, height: total, role: 'img', 'aria-label': `${label}: ${demo.consensus(matrix)}`, class: 'logo',
    });
    picture.append(
      svg('line', {x1: left - 3, x2: left - 3, y1: 1, y2: height, stroke: palette.line}),
      svg('text', {x: left - 7, y: 9, 'text-anchor': 'end', 'font-size': 9, fill: palette.soft}, '2'),
      svg('text', {x: left - 7, y: height, 'text-anchor': 'end', 'font-size': 9, fill: palette.soft}, '0'),
      svg('line', {x1: left - 3, x2: width, y1: height + 0.5, y2: height + 0.5, stroke: palette.line}));
    const letters = demo.logo(matrix, step, height, palette);
    letters.setAttribute('transform', `translate(${left} 0)`);
    picture.append(letters);
    if (ticks) {
      for (let place = 0; place < matrix.length; place += place ? 10 : 9) {
        picture.append(svg('text', {
          x: left + (place + 0.5) * step, y: height + 13, 'text-anchor': 'middle', 'font-size': 9, fill: palette.soft,
        }, place + 1));
      }
    }
    if (ticks) picture.style.maxWidth = `${1.4 * width}px`;
    return picture;
  };

  /** A motif below the known motif it matches, aligned as Tomtom aligned them. */
  demo.alignment = (query, target, match, label) => {
    const palette = demo.palette();
    const turned = match.strand === '-' ? demo.reverseComplement(target) : target;
    // The query's first column lies under the target's column number `offset`.
    const shift = match.offset;
    const first = Math.min(0, shift);
    const last = Math.max(turned.length, shift + query.length);
    const step = 14;
    const height = 40;
    const width = (last - first) * step;
    const picture = svg('svg', {
      viewBox: `0 0 ${width} ${2 * height + 8}`, width, height: 2 * height + 8, role: 'img', class: 'logo alignment',
      'aria-label': `${label}: ${demo.consensus(query)} under ${demo.consensus(turned)}, offset ${match.offset}, ${match.strand === '-' ? 'reverse strand' : 'forward strand'}`,
    });
    const from = Math.max(0, shift) - first;
    picture.append(svg('rect', {
      x: from * step, y: 0, width: match.overlap * step, height: 2 * height + 8, fill: palette.grid, rx: 2,
    }));
    const above = demo.logo(turned, step, height, palette, -first);
    const below = demo.logo(query, step, height, palette, shift - first);
    below.setAttribute('transform', `translate(0 ${height + 8})`);
    picture.append(above, below, svg('line', {x1: 0, x2: width, y1: height + 4, y2: height + 4, stroke: palette.line}));
    return picture;
  };

  /** A colour of a strip: `share` in 0..1 for saliency, in -1..1 for scores; NaN is blank. */
  demo.stripColour = (share, palette) => {
    if (Number.isNaN(share)) return palette.blank;
    const end = share < 0 ? palette.low : palette.high;
    const part = Math.min(Math.abs(share), 1);
    return `rgb(${palette.zero.map((zero, at) => Math.round(zero + (end[at] - zero) * part)).join(',')})`;
  };

  demo.largest = (values) => values.reduce((most, value) => (Number.isNaN(value) ? most : Math.max(most, Math.abs(value))), 0);

  /** Lines over two axes. series: [{label, x, y, place, detail}], place = its number among the run's specs. */
  demo.chart = (title, series, {xLabel, yLabel, diagonal = false, unit = null, width = 340, height = 260} = {}) => {
    const palette = demo.palette();
    const box = {left: 44, right: 12, top: 12, bottom: 38};
    const inner = {width: width - box.left - box.right, height: height - box.top - box.bottom};
    const xs = series.flatMap((line) => line.x);
    const ys = series.flatMap((line) => line.y).filter((value) => value !== null);
    const [x0, x1] = unit ? [0, 1] : [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
    let [y0, y1] = unit ? [0, 1] : [Math.min(...ys), Math.max(...ys)];
    if (y1 - y0 < 1e-9) { y0 -= 0.05; y1 += 0.05; }
    const step = niceStep(y1 - y0);
    if (!unit) { y0 = Math.floor(y0 / step) * step; y1 = Math.ceil(y1 / step) * step; }
    const px = (x) => box.left + (x - x0) / (x1 - x0) * inner.width;
    const py = (y) => box.top + (1 - (y - y0) / (y1 - y0)) * inner.height;
    const picture = svg('svg', {
      viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'chart',
      'aria-label': `${title}: ${series.map((line) => `${line.label} ${line.detail}`).join('; ')}`,
    });
    for (let y = y0; y <= y1 + step / 1000; y += step) {
      picture.append(
        svg('line', {x1: box.left, x2: width - box.right, y1: py(y), y2: py(y), stroke: palette.grid}),
        svg('text', {x: box.left - 6, y: py(y) + 3.5, 'text-anchor': 'end', 'font-size': 10, fill: palette.soft}, Number(y.toFixed(4))));
    }
    const xStep = unit ? 0.2 : Math.max(1, Math.round(niceStep(x1 - x0)));
    for (let x = unit ? 0 : Math.ceil(x0 / xStep) * xStep; x <= x1 + 1e-9; x += xStep) {
      picture.append(svg('text', {
        x: px(x), y: height - box.bottom + 15, 'text-anchor': 'middle', 'font-size': 10, fill: palette.soft,
      }, Number(x.toFixed(2))));
    }
    picture.append(
      svg('line', {x1: box.left, x2: width - box.right, y1: py(y0), y2: py(y0), stroke: palette.soft}),
      svg('text', {x: box.left + inner.width / 2, y: height - 5, 'text-anchor': 'middle', 'font-size': 11, fill: palette.ink}, xLabel),
      svg('text', {
        x: 11, y: box.top + inner.height / 2, 'text-anchor': 'middle', 'font-size': 11, fill: palette.ink,
        transform: `rotate(-90 11 ${box.top + inner.height / 2})`,
      }, yLabel));
    if (diagonal) picture.append(svg('line', {x1: px(0), y1: py(0), x2: px(1), y2: py(1), stroke: palette.line, 'stroke-dasharray': '3 3'}));
    for (const line of series) {
      const points = line.x.map((x, at) => [x, line.y[at]]).filter(([, y]) => y !== null);
      picture.append(svg('polyline', {
        points: points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(' '), fill: 'none',
        stroke: demo.seriesColour(line.place, palette), 'stroke-width': 2, 'stroke-linejoin': 'round',
        'stroke-dasharray': line.dash || demo.dashes[line.place % demo.dashes.length] || null,
      }));
    }
    return demo.el('div', {class: 'plot'}, demo.el('h3', {}, title), picture, demo.legend(series));
  };

  demo.legend = (series) => demo.el('ul', {class: 'legend'}, series.map((line) => demo.el('li', {}, demo.key(line.place), demo.el('span', {}, `${line.label} `, demo.el('span', {class: 'soft'}, line.detail)))));

  /** The short line that stands for a spec in charts. */
  demo.key = (place) => svg('svg', {class: 'key', viewBox: '0 0 22 8', width: 22, height: 8, 'aria-hidden': 'true'}, svg('line', {
    x1: 0, x2: 22, y1: 4, y2: 4, 'stroke-width': 2.5, stroke: demo.seriesColour(place), 'stroke-dasharray': demo.dashes[place % demo.dashes.length] || null,
  }));

  function niceStep(range) {
    const rough = range / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  }

  /** Every task as a dot on one line from `low` to 1. */
  demo.dots = (values, low, place, label) => {
    const palette = demo.palette();
    const picture = svg('svg', {viewBox: '0 0 320 22', width: 320, height: 22, role: 'img', class: 'dots', 'aria-label': label});
    const px = (value) => 4 + (value - low) / (1 - low || 1) * 312;
    picture.append(svg('line', {x1: 4, x2: 316, y1: 11, y2: 11, stroke: palette.line}));
    values.forEach((value, at) => {
      const lane = (at * 0.618) % 1;
      picture.append(svg('circle', {
        cx: px(value).toFixed(1), cy: (4 + lane * 14).toFixed(1), r: 2.4, fill: demo.seriesColour(place, palette), 'fill-opacity': 0.75,
      }));
    });
    return picture;
  };
})();
