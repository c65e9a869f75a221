/* Panels of the X/Y/Z plot, the prompt matrix and the list of prompts (plots.py reads their values).

   A panel's value is a JSON text of its fields; fields that stand at their defaults are left out. */
(() => {
  'use strict';
  const {isChinese, say, make} = window.danqingTexts;
  const LETTERS = ['x', 'y', 'z'];
  const NOTHING = 'Nothing';
  const axesOf = {};            // by tab: a promise of the list

  const axes = (tab) => {
    axesOf[tab] = axesOf[tab] || fetch(`ui/plots/axes/${tab}`).then((answer) => {
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    }).catch((error) => { delete axesOf[tab]; throw error; });
    return axesOf[tab];
  };
  const quoted = (value) => (/[,"\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

  class Panel {
    constructor(element, props) {
      this.props = props;
      this.root = element.querySelector('.dq-plot');
      this.kind = this.root.dataset.kind;
      this.tab = this.root.dataset.tab;
      this.state = this.parsed();
      this.draw();
    }

    parsed() {
      try { return JSON.parse(this.props.value || '{}'); } catch { return {}; }
    }

    text() { return JSON.stringify(this.state); }

    follow() {
      if ((this.props.value || '{}') === this.text()) return;
      this.state = this.parsed();
      this.draw();
    }

    keep() { this.props.value = this.text(); }

    set(name, value, usual) {
      if (value === usual) delete this.state[name]; else this.state[name] = value;
      this.keep();
    }

    async draw() {
      if (this.kind === 'xyz') {
        try { this.axes = await axes(this.tab); } catch {
          this.root.replaceChildren(make('p', 'dq-soft', {role: 'status'}, say('plot_unread')));
          return;
        }
      }
      this.root.replaceChildren(...this[this.kind]());
    }

    // Fields

    check(name, text = say(`plot_${name}`), usual = false) {
      const label = make('label', 'dq-plot-check');
      const box = make('input', '', {type: 'checkbox', name});
      box.checked = this.state[name] ?? usual;
      box.addEventListener('change', () => this.set(name, box.checked, usual));
      label.append(box, text);
      return label;
    }

    number(name, most) {
      const label = make('label', 'dq-plot-field', {}, say(`plot_${name}`));
      const box = make('input', '', {type: 'number', min: 0, max: most, step: 2, name});
      box.value = this.state[name] ?? 0;
      box.addEventListener('change', () => {
        const value = Math.min(most, Math.max(0, Math.round(Number(box.value) || 0)));
        box.value = value;
        this.set(name, value, 0);
      });
      label.append(box);
      return label;
    }

    menu(name, values) {
      const label = make('label', 'dq-plot-field', {}, say(`plot_${name}`));
      const box = make('select', '', {name});
      for (const value of values) box.append(make('option', '', {value}, say(`plot_${value}`)));
      box.value = this.state[name] ?? values[0];
      box.addEventListener('change', () => this.set(name, box.value, values[0]));
      label.append(box);
      return label;
    }

    row(...parts) {
      const row = make('div', 'dq-plot-row');
      row.append(...parts);
      return row;
    }

    // The three panels

    xyz() {
      const swaps = [['x', 'y'], ['y', 'z'], ['x', 'z']].map(([a, b]) => {
        const title = say('plot_swap', {a: a.toUpperCase(), b: b.toUpperCase()});
        const button = make('button', 'dq-btn dq-chip', {type: 'button', title, 'aria-label': title}, `${a.toUpperCase()} ⇄ ${b.toUpperCase()}`);
        button.addEventListener('click', () => {
          [this.state[a], this.state[b]] = [this.state[b] || {}, this.state[a] || {}];
          this.keep();
          this.draw();
        });
        return button;
      });
      return [
        ...LETTERS.map((letter) => this.axis(letter)),
        this.row(...swaps),
        this.row(
          this.check('has_legend', undefined, true), this.check('include_lone_images'),
          this.check('include_sub_grids'), this.check('keep_random_seeds'),
          ...LETTERS.map((l) => this.check(`vary_seeds_${l}`, say('plot_vary_seeds', {letter: l.toUpperCase()}))),
          this.number('margin', 500),
        ),
      ];
    }

    axis(letter) {
      const wish = this.state[letter] || {};
      const name = wish.axis || NOTHING;
      const box = make('fieldset', 'dq-plot-axis');
      const select = make('select', '', {'aria-label': say('plot_axis', {letter: letter.toUpperCase()}), name: `${letter}-axis`});
      for (const one of this.axes) select.append(make('option', '', {value: one.name}, isChinese ? one.zh : one.name));
      select.value = name;
      select.addEventListener('change', () => {
        this.state[letter] = {axis: select.value, values: ''};
        this.keep();
        this.draw().then(() => this.root.querySelector(`[name="${letter}-axis"]`).focus());
      });
      box.append(make('b', '', {}, letter.toUpperCase()), select);
      if (name !== NOTHING) box.append(...this.values(letter, wish));
      return box;
    }

    values(letter, wish) {
      const axis = this.axes.find((one) => one.name === wish.axis);
      const hint = say(axis && axis.choices || /^Prompt|Size/.test(wish.axis) ? 'plot_values_text' : 'plot_values');
      const text = make('textarea', '', {rows: 1, placeholder: hint, 'aria-label': hint, title: hint, name: `${letter}-values`});
      text.value = wish.values || '';
      const fit = () => { text.style.height = 'auto'; text.style.height = `${Math.min(180, text.scrollHeight + 2)}px`; };
      const write = () => { this.state[letter] = {axis: wish.axis, values: text.value}; this.keep(); fit(); };
      text.addEventListener('input', write);
      requestAnimationFrame(fit);
      if (!axis || !axis.choices) return [text];
      const add = make('select', 'dq-plot-add', {'aria-label': say('plot_add'), title: say('plot_add')});
      add.append(make('option', '', {value: ''}, '+'));
      for (const value of axis.choices) add.append(make('option', '', {value}, value));
      add.addEventListener('change', () => {
        if (add.value) text.value = [text.value.trim().replace(/,$/, ''), quoted(add.value)].filter(Boolean).join(', ');
        add.value = '';
        write();
      });
      const fill = make('button', 'dq-btn dq-plot-fill', {type: 'button'}, say('plot_fill'));
      fill.addEventListener('click', () => { text.value = axis.choices.map(quoted).join(', '); write(); });
      const tools = make('div', 'dq-plot-tools');
      tools.append(add, fill);
      return [tools, text];
    }

    matrix() {
      return [
        make('p', 'dq-soft', {}, say('plot_matrix_hint')),
        this.row(
          this.check('put_at_start'), this.check('different_seeds'), this.check('include_lone_images'),
          this.menu('prompt', ['positive', 'negative']), this.menu('delimiter', ['comma', 'space']),
          this.number('margin', 500),
        ),
      ];
    }

    list() {
      const hint = say('plot_text');
      const text = make('textarea', 'dq-plot-lines', {rows: 6, placeholder: hint, 'aria-label': hint, name: 'text'});
      text.value = this.state.text || '';
      text.addEventListener('input', () => this.set('text', text.value, ''));
      const file = make('input', '', {type: 'file', accept: '.txt,.text,text/plain'});
      file.addEventListener('change', async () => {
        if (!file.files.length) return;
        text.value = await file.files[0].text();
        file.value = '';
        this.set('text', text.value, '');
      });
      const open = make('label', 'dq-btn dq-plot-file', {}, say('plot_file'));
      open.append(file);
      return [
        text,
        this.row(
          open, this.check('iterate_seed'), this.check('same_seed'), this.menu('position', ['start', 'end']),
          this.check('has_sheet'),
        ),
      ];
    }
  }

  window.danqingPlots = (element, props, watch) => {
    const panel = new Panel(element, props);
    watch('value', () => panel.follow());
  };
})();
