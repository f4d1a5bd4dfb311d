'use strict';
// The models themselves: scores, gradients and single mutants of a sequence, out of the weights in data/models-*.js.
// Nothing here touches the page. The whole function is also the text of the worker that computes beside it.

demo.modelCode = () => {
  const LETTERS = 'ACGT';

  /** Letters as 0 to 3, anything else (N) as 4. */
  const tokensOf = (text) => Uint8Array.from(text, (letter) => { const at = LETTERS.indexOf(letter); return at < 0 ? 4 : at; });
  const complement = (tokens) => tokens.slice().reverse().map((token) => (token < 4 ? 3 - token : 4));

  /** Packed weights (see report/model_payload.py): Float64Array, a row for each output. */
  function unpack(packed) {
    /** Bytes, and three more: every number is read as a part of four bytes. */
    const read = (text) => { const characters = atob(text); return new DataView(Uint8Array.from({length: characters.length + 3}, (_, at) => (at < characters.length ? characters.charCodeAt(at) : 0)).buffer); };
    const scales = read(packed.scale);
    const scale = Float64Array.from({length: scales.byteLength >> 2}, (_, at) => scales.getFloat32(4 * at, true));
    const values = new Float64Array(scale.length * packed.width);
    const {bits, width} = packed;
    const half = 2 ** (bits - 1);
    const words = read(packed.data);
    for (let at = 0; at < values.length; at += 1) {
      const first = at * bits;
      const whole = (words.getUint32(first >> 3) << (first & 7)) >>> (32 - bits);
      values[at] = (whole - half) * scale[Math.floor(at / width)];
    }
    return values;
  }

  /** x[from ...] times `rows` rows of `width` numbers, beginning at `first` in each row: added to out[to ...].
   *
   * Eight rows at a time share what is read of x.
   */
  function product(weights, rows, width, first, size, x, from, out, to) {
    const end = from + size;
    let row = 0;
    for (; row + 7 < rows; row += 8) {
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      let k = row * width + first;
      for (let at = from; at < end; at += 1) {
        const value = x[at];
        a += value * weights[k]; b += value * weights[k + width]; c += value * weights[k + 2 * width]; d += value * weights[k + 3 * width];
        e += value * weights[k + 4 * width]; f += value * weights[k + 5 * width]; g += value * weights[k + 6 * width]; h += value * weights[k + 7 * width];
        k += 1;
      }
      const place = to + row;
      out[place] += a; out[place + 1] += b; out[place + 2] += c; out[place + 3] += d;
      out[place + 4] += e; out[place + 5] += f; out[place + 6] += g; out[place + 7] += h;
    }
    for (; row < rows; row += 1) {
      let sum = 0;
      for (let at = 0; at < size; at += 1) sum += x[from + at] * weights[row * width + first + at];
      out[to + row] += sum;
    }
  }

  /** The transpose: rows of weights times dy[from ...], added to dx[to ...]. */
  function transposed(weights, rows, width, first, size, dy, from, dx, to) {
    for (let row = 0; row < rows; row += 1) {
      const value = dy[from + row];
      if (value === 0) continue;
      const start = row * width + first;
      for (let at = 0; at < size; at += 1) dx[to + at] += value * weights[start + at];
    }
  }

  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const tanh = (z) => 1 - 2 / (1 + Math.exp(2 * z));  // twice as fast as Math.tanh, and as good in absolute terms

  // A node holds what one layer makes of one sequence: y, `n` positions of `channels` numbers, and dy, the score's
  // gradient. `forward(low, high)` makes y anew where positions low to high of what it reads have changed, and returns
  // which of its own have; `restore` takes back such a change. `backward` hands dy on to what it reads.
  function node(n, channels, more) {
    const made = {n, channels, y: new Float64Array(n * channels), dy: new Float64Array(n * channels), kept: null, ...more};
    made.keep = made.keep || (() => { made.kept = made.y.slice(); });
    made.restore = made.restore || ((low, high) => made.y.set(made.kept.subarray(low * channels, high * channels), low * channels));
    return made;
  }

  const operations = {
    convolution(step, weights, below) {
      const {width, left, right} = step.settings;
      const {kernel, bias} = weights;
      const {channels, n: length} = below;
      const filters = bias.length;
      const size = width * channels;
      /** Taps that lie inside of the sequence at an output position: [first, one behind the last). */
      const taps = (at) => [Math.max(0, left - at), Math.min(width, length + left - at)];
      const made = node(length + left + right - width + 1, filters, {
        forward(low, high) {
          const from = Math.min(made.n, Math.max(0, low + left - width + 1));
          const to = Math.min(made.n, high + left);
          const {y} = made;
          for (let at = from; at < to; at += 1) {
            const [first, last] = taps(at);
            y.set(bias, at * filters);
            product(kernel, filters, size, first * channels, (last - first) * channels, below.y, (at - left + first) * channels, y, at * filters);
            for (let place = at * filters; place < (at + 1) * filters; place += 1) if (!(y[place] > 0)) y[place] = 0;
          }
          return [from, Math.max(from, to)];
        },
        backward() {
          const {y, dy} = made;
          for (let place = 0; place < y.length; place += 1) if (y[place] === 0) dy[place] = 0;
          for (let at = 0; at < made.n; at += 1) {
            const [first, last] = taps(at);
            transposed(kernel, filters, size, first * channels, (last - first) * channels, dy, at * filters, below.dy, (at - left + first) * channels);
          }
        },
      });
      return made;
    },

    max_pool(step, weights, below) {
      const {block} = step.settings;
      const {channels} = below;
      const made = node(Math.floor(below.n / block), channels, {
        forward(low, high) {
          const from = Math.min(made.n, Math.floor(low / block));
          const to = Math.min(made.n, Math.ceil(high / block));
          for (let at = from; at < to; at += 1) {
            for (let channel = 0; channel < channels; channel += 1) {
              let most = -Infinity;
              for (let inside = 0; inside < block; inside += 1) most = Math.max(most, below.y[(at * block + inside) * channels + channel]);
              made.y[at * channels + channel] = most;
            }
          }
          return [from, to];
        },
        backward() {  // equal maxima share
          for (let place = 0; place < made.y.length; place += 1) {
            const first = Math.floor(place / channels) * block * channels + place % channels;
            let equal = 0;
            for (let inside = 0; inside < block; inside += 1) if (below.y[first + inside * channels] === made.y[place]) equal += 1;
            for (let inside = 0; inside < block; inside += 1) {
              const at = first + inside * channels;
              if (below.y[at] === made.y[place]) below.dy[at] += made.dy[place] / equal;
            }
          }
        },
      });
      return made;
    },

    /** One direction of an LSTM; positions are in its own order. `turned`: it reads from the end. */
    direction(weights, way, below, turned) {
      const kernel = weights[`kernel_${way}`], recurrent = weights[`recurrent_${way}`], bias = weights[`bias_${way}`];
      const {n, channels} = below;
      const units = bias.length / 4;
      const four = 4 * units;
      const z = new Float64Array(n * four);  // what it reads, projected
      const gates = new Float64Array(n * four);
      const c = new Float64Array(n * units);
      const sums = new Float64Array(four);
      let kept = null;
      const row = (at) => (turned ? n - 1 - at : at);
      const made = node(n, units, {
        forward(start, end) {
          const [low, high] = turned ? [n - end, n - start] : [start, end];
          const h = made.y;
          for (let at = low; at < high; at += 1) {
            z.set(bias, at * four);
            product(kernel, four, channels, 0, channels, below.y, row(at) * channels, z, at * four);
          }
          for (let at = low; at < n && low < high; at += 1) {
            for (let gate = 0; gate < four; gate += 1) sums[gate] = z[at * four + gate];
            if (at) product(recurrent, four, units, 0, units, h, (at - 1) * units, sums, 0);
            for (let unit = 0; unit < units; unit += 1) {
              const i = sigmoid(sums[unit]), f = sigmoid(sums[units + unit]), o = sigmoid(sums[2 * units + unit]), g = tanh(sums[3 * units + unit]);
              const place = at * four + unit;
              gates[place] = i; gates[place + units] = f; gates[place + 2 * units] = o; gates[place + 3 * units] = g;
              const cell = f * (at ? c[(at - 1) * units + unit] : 0) + i * g;
              c[at * units + unit] = cell;
              h[at * units + unit] = o * tanh(cell);
            }
          }
          made.changed = [low, high];
          return [low, low < high ? n : low];
        },
        keep() { kept = [made.y, c, z].map((array) => array.slice()); },
        restore(low) {
          made.y.set(kept[0].subarray(low * units), low * units);
          c.set(kept[1].subarray(low * units), low * units);
          const [from, to] = made.changed;
          z.set(kept[2].subarray(from * four, to * four), from * four);
        },
        backward() {
          const dz = new Float64Array(four);
          const dh = new Float64Array(units);
          const dc = new Float64Array(units);
          for (let at = n - 1; at >= 0; at -= 1) {
            for (let unit = 0; unit < units; unit += 1) {
              const place = at * four + unit;
              const i = gates[place], f = gates[place + units], o = gates[place + 2 * units], g = gates[place + 3 * units];
              const t = tanh(c[at * units + unit]);
              const total = made.dy[at * units + unit] + dh[unit];
              const cell = dc[unit] + total * o * (1 - t * t);
              dz[unit] = cell * g * i * (1 - i);
              dz[units + unit] = at ? cell * c[(at - 1) * units + unit] * f * (1 - f) : 0;
              dz[2 * units + unit] = total * t * o * (1 - o);
              dz[3 * units + unit] = cell * i * (1 - g * g);
              dc[unit] = cell * f;
            }
            dh.fill(0);
            transposed(recurrent, four, units, 0, units, dz, 0, dh, 0);
            transposed(kernel, four, channels, 0, channels, dz, 0, below.dy, row(at) * channels);
          }
        },
      });
      return made;
    },

    summary(step, weights, below, pair) {
      const {how} = step.settings;
      const parts = pair ? pair.map((of) => ['mean', of]) : (how === 'max_mean' ? ['max', 'mean'] : [how]).map((what) => [what, below]);
      const made = node(1, parts.reduce((sum, [, of]) => sum + of.channels, 0), {
        forward() {
          let to = 0;
          for (const [what, {n, channels, y}] of parts) {
            for (let channel = 0; channel < channels; channel += 1) {
              let found = what === 'max' ? -Infinity : 0;
              for (let place = channel; place < n * channels; place += channels) {
                if (what === 'mean') found += y[place]; else if (y[place] > found) found = y[place];
              }
              made.y[to + channel] = what === 'max' ? found : found / n;
            }
            to += channels;
          }
          return [0, 1];
        },
        backward() {
          let from = 0;
          for (const [what, {n, channels, y, dy}] of parts) {
            for (let channel = 0; channel < channels; channel += 1) {
              const most = made.y[from + channel];
              let equal = n;
              if (what === 'max') {
                equal = 0;
                for (let place = channel; place < n * channels; place += channels) if (y[place] === most) equal += 1;
              }
              const share = made.dy[from + channel] / equal;
              for (let place = channel; place < n * channels; place += channels) if (what === 'mean' || y[place] === most) dy[place] += share;
            }
            from += channels;
          }
        },
      });
      return made;
    },

    /** Summaries (S, 2, F) of filters and turned filters as two rows (2, S, F), one for each strand. */
    by_strand(step, weights, below) {
      const summaries = 2;
      const filters = below.channels / summaries / 2;
      const source = (place) => {
        const strand = Math.floor(place / (summaries * filters)), inside = place % (summaries * filters);
        return (Math.floor(inside / filters) * 2 + strand) * filters + inside % filters;
      };
      const made = node(2, summaries * filters, {
        forward() { for (let place = 0; place < made.y.length; place += 1) made.y[place] = below.y[source(place)]; return [0, 2]; },
        backward() { for (let place = 0; place < made.y.length; place += 1) below.dy[source(place)] += made.dy[place]; },
      });
      return made;
    },

    /** Two logits; of two rows, the strands, those of the row that speaks more for binding. */
    dense(step, weights, below) {
      const {kernel, bias} = weights;
      const {channels} = below;
      const logits = new Float64Array(2 * below.n);
      let chosen = 0;
      const made = node(1, 2, {
        forward() {
          for (let at = 0; at < below.n; at += 1) {
            logits.set(bias, 2 * at);
            product(kernel, 2, channels, 0, channels, below.y, at * channels, logits, 2 * at);
          }
          chosen = step.settings.both_strands && logits[3] - logits[2] > logits[1] - logits[0] ? 1 : 0;
          made.y.set(logits.subarray(2 * chosen, 2 * chosen + 2));
          return [0, 1];
        },
        backward() { transposed(kernel, 2, channels, 0, channels, made.dy, 0, below.dy, chosen * channels); },
      });
      return made;
    },
  };

  /** The layers of a model for sequences of one length: what is computed once a sequence, and again for each mutant. */
  function program(steps, length) {
    const letters = node(length, 4, {});
    const nodes = [];
    let below = letters;
    let pair = null;  // of LSTMs, one for each direction
    const join = (made, reads) => { nodes.push({made, reads: nodes.findIndex(({made: other}) => other === reads)}); return made; };
    for (const step of steps) {
      const {operation, weights} = step;
      if (operation === 'lstm') {
        pair = ['forward', 'backward'].map((way, at) => {
          const reads = pair ? pair[at] : below;
          return join(operations.direction(weights, way, reads, !pair && at === 1), reads);
        });
      } else {
        if (operation !== 'same') below = join(operations[operation](step, weights, below, operation === 'summary' ? pair : null), pair ? null : below);
        pair = null;
      }
    }
    const last = nodes[nodes.length - 1].made;
    const changed = nodes.map(() => [0, 0]);
    /** The score once letters low to high have changed. */
    function forward(low, high) {
      nodes.forEach(({made, reads}, at) => {
        const [from, to] = reads < 0 ? [low, high] : changed[reads];
        changed[at] = made.forward(from, to);
      });
      return last.y[1] - last.y[0];
    }
    function setLetter(at, token) {
      letters.y.fill(0, 4 * at, 4 * at + 4);
      if (token < 4) letters.y[4 * at + token] = 1;
    }
    return {
      score(tokens) {
        tokens.forEach((token, at) => setLetter(at, token));
        return forward(0, length);
      },
      /** The gradient of the last score by every letter, (length, 4). */
      gradient() {
        for (const {made} of nodes) made.dy.fill(0);
        letters.dy.fill(0);
        last.dy.set([-1, 1]);
        for (let at = nodes.length - 1; at >= 0; at -= 1) nodes[at].made.backward();
        return letters.dy;
      },
      /** Scores of the mutants at a position, (4), once `score` and `keep` have been called. */
      keep() { for (const {made} of nodes) made.keep(); },
      mutants(tokens, at, score) {
        const scores = new Float64Array(4).fill(score);
        for (let token = 0; token < 4; token += 1) {
          if (token === tokens[at]) continue;
          setLetter(at, token);
          scores[token] = forward(at, at + 1);
        }
        nodes.forEach(({made}, place) => made.restore(...changed[place]));
        setLetter(at, tokens[at]);
        return scores;
      },
    };
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  /** A model out of its payload. It scores what `tokensOf` makes of a text: the mean over its members and strands. */
  function model(payload) {
    const members = payload.members.map((steps) => steps.map(({operation, settings, arrays}) => {
      if (operation !== 'lstm' && operation !== 'same' && !operations[operation]) throw new Error(`model.js has no operation “${operation}”`);
      return {operation, settings, weights: Object.fromEntries(Object.entries(arrays).map(([name, packed]) => [name, unpack(packed)]))};
    }));
    const strands = payload.average_strands ? [0, 1] : [0];
    const known = new Map();  // programs by length, one for each member and strand: each keeps what it has computed
    function programs(length) {
      if (length < payload.min_length) throw new Error(`${payload.spec} needs at least ${payload.min_length} letters, got ${length}`);
      if (!known.has(length)) {
        if (known.size > 3) known.clear();
        known.set(length, members.flatMap((steps) => strands.map((strand) => ({strand, ...program(steps, length)}))));
      }
      return known.get(length);
    }
    const turned = (tokens, strand) => (strand ? complement(tokens) : tokens);
    const score = (tokens) => mean(programs(tokens.length).map((one) => one.score(turned(tokens, one.strand))));
    return {
      spec: payload.spec,
      score,
      /** The score, and gradient times input at each letter. */
      saliency(tokens) {
        const length = tokens.length;
        const found = score(tokens);
        const values = new Float64Array(length);
        const all = programs(length);
        for (const one of all) {
          const gradient = one.gradient();
          turned(tokens, one.strand).forEach((token, at) => {
            if (token < 4) values[one.strand ? length - 1 - at : at] += gradient[4 * at + token] / all.length;
          });
        }
        return {score: found, values};
      },
      /** A function from a position to the scores of its four letters. */
      mutants(tokens) {
        const length = tokens.length;
        const ways = programs(length).map((one) => {
          const letters = turned(tokens, one.strand);
          const whole = one.score(letters);
          one.keep();
          return (at) => (one.strand ? one.mutants(letters, length - 1 - at, whole).reverse() : one.mutants(letters, at, whole));
        });
        return (at) => {
          const found = ways.map((way) => way(at));
          return found[0].map((_, letter) => mean(found.map((scores) => scores[letter])));
        };
      },
    };
  }

  /** Answers questions {id, letters, original, specs}, each model in turn: its score and saliency, and then all mutants, in short pieces.
   *
   * `post` gets {id, spec, score, original, values}, the last of gradient x input; then {id, spec, done, of} and at last
   * {id, spec, mutants}, scores (length, 4); {id, finished} ends. Another question ends the one before, as `stop` does.
   */
  function service(payloads, post) {
    const PIECE = 40;  // milliseconds between two looks at what else was asked
    let models = null;
    let turn = 0;
    const pause = () => new Promise((resolve) => { setTimeout(resolve, 0); });
    async function ask({id, letters, original, specs}) {
      turn += 1;
      const mine = turn;
      await pause();
      if (mine !== turn) return;
      models = models || payloads.map(model);
      const tokens = tokensOf(letters);
      const asked = models.filter(({spec}) => specs.includes(spec));
      for (const one of asked) {
        const before = one.score(tokensOf(original));
        post({id, spec: one.spec, original: before, ...one.saliency(tokens)});
        await pause();
        if (mine !== turn) return;
      }
      for (const one of asked) {
        const of = tokens.length;
        const scores = new Float64Array(4 * of);
        const scoresAt = one.mutants(tokens);
        let since = performance.now();
        for (let at = 0; at < of; at += 1) {
          scores.set(scoresAt(at), 4 * at);
          if (performance.now() - since > PIECE && at < of - 1) {
            post({id, spec: one.spec, done: at + 1, of});
            await pause();
            if (mine !== turn) return;
            since = performance.now();
          }
        }
        post({id, spec: one.spec, mutants: scores});
      }
      post({id, finished: true});
    }
    return {ask, stop() { turn += 1; }};
  }

  return {tokensOf, model, service};
};
