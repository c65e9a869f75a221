/* The panel of plans: scripts that make many pictures of one request (plots.py reads its value).

   The value is a JSON text: {plan, title, values: {plan: {field: value}}}; fields that stand as
   usual are left out. */
(() => {
  'use strict';
  const {say, make, nameOf} = window.danqingTexts;
  const {words} = window.danqingFields;
  const panels = new Set();
  const plansOf = {};           // by tab: a promise of the list

  const plans = (tab) => {
    plansOf[tab] = plansOf[tab] || fetch(`ui/plots/${tab}`).then((answer) => {
      if (!answer.ok) throw new Error(answer.status);
      return answer.json();
    }).catch((error) => { delete plansOf[tab]; throw error; });
    return plansOf[tab];
  };
  const quoted = (value) => (/[,"\n]|^\s|\s$/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const isSame = (one, other) => JSON.stringify(one) === JSON.stringify(other);

  class Panel extends window.danqingFields {
    constructor(element, props) {
      super();
      this.props = props;
      this.root = element.querySelector('.dq-plan');
      this.tab = this.root.dataset.tab;
      this.state = this.parsed();
      this.draw();
    }

    parsed() {
      try { return {values: {}, ...JSON.parse(this.props.value || '{}')}; } catch { return {values: {}}; }
    }

    follow() {
      const now = this.parsed();
      if (isSame(now, this.state)) return;
      this.state = now;
      this.draw();
    }

    usual(field) {
      if (field.kind === 'axis') return {axis: field.default || field.choices[0].name, values: ''};
      return super.usual(field);
    }

    value(plan, field) { return this.state.values[plan.name]?.[field.name] ?? this.usual(field); }

    set(plan, field, value) {
      const own = this.state.values[plan.name] = {...this.state.values[plan.name]};
      if (isSame(value, this.usual(field))) delete own[field.name]; else own[field.name] = value;
      this.props.value = JSON.stringify(this.state);
      this.show(plan);
    }

    async draw() {
      const {plan: name} = this.state;
      let found;
      try { found = name ? (await plans(this.tab)).find((one) => one.name === name) : null; } catch {
        this.root.replaceChildren(make('p', 'dq-soft', {role: 'status'}, say('plot_unread')));
        return;
      }
      if (name !== this.state.plan) return; // another one was chosen meanwhile
      this.root.replaceChildren(...(found ? this.parts(found) : []));
      this.root.dataset.name = found ? found.name : '';
      if (found) this.show(found);
    }

    // Axes and boxes take a line each; small fields stand beside each other.
    parts(plan) {
      const axes = plan.fields.filter((field) => field.kind === 'axis');
      const parts = words(plan.help) ? [make('p', 'dq-soft', {}, words(plan.help))] : [];
      let row = null;
      for (const field of plan.fields) {
        const isSmall = field.kind !== 'axis' && !(field.kind === 'text' && field.lines > 1);
        if (isSmall && !row) parts.push(row = make('div', 'dq-plot-row'));
        if (!isSmall) row = null;
        (isSmall ? row : {append: (part) => parts.push(part)}).append(this.field(plan, field));
        if (axes.length > 1 && field === axes.at(-1)) parts.push(this.swaps(plan, axes));
      }
      return parts;
    }

    field(plan, field) {
      if (field.kind === 'axis') return this.axis(plan, field);
      const isBox = field.kind === 'text' && field.lines > 1;
      const kind = field.kind === 'switch' ? 'dq-plot-check' : isBox ? 'dq-plot-box' : 'dq-plot-field';
      const part = make('label', kind, {'data-field': field.name});
      const inputs = this[`draw_${field.kind}`](plan, field);
      const text = words(field.label) || field.name;
      if (isBox) this.box(part, inputs[0], field, text);
      else if (field.kind === 'switch') part.append(...inputs, text);
      else part.append(text, ...inputs);
      if (words(field.help)) part.title = words(field.help);
      return part;
    }

    numbers(plan, field, read) { return super.numbers(plan, field, read).slice(1); }

    box(part, text, field, name) {
      const hint = words(field.help) || name;
      text.classList.add('dq-plot-lines');
      text.placeholder = hint;
      text.setAttribute('aria-label', name);
      part.append(text);
      if (!field.file_endings.length) return;
      const file = make('input', '', {type: 'file', accept: [...field.file_endings, 'text/plain'].join(',')});
      file.addEventListener('change', async () => {
        if (!file.files.length) return;
        text.value = await file.files[0].text();
        file.value = '';
        text.dispatchEvent(new Event('input'));
      });
      const open = make('label', 'dq-btn dq-plot-file', {}, say('plot_file'));
      open.append(file);
      part.append(open);
    }

    swaps(plan, axes) {
      const row = make('div', 'dq-plot-row');
      const shown = (field) => words(field.label) || field.name;
      axes.forEach((a, place) => axes.slice(place + 1).forEach((b) => {
        const title = say('plot_swap', {a: shown(a), b: shown(b)});
        const button = make('button', 'dq-btn dq-chip', {type: 'button', title, 'aria-label': title}, `${shown(a)} ⇄ ${shown(b)}`);
        button.addEventListener('click', () => {
          const [first, second] = [this.value(plan, a), this.value(plan, b)];
          this.set(plan, a, second);
          this.set(plan, b, first);
          this.draw();
        });
        row.append(button);
      }));
      return row;
    }

    axis(plan, field) {
      const wish = this.value(plan, field);
      const letter = words(field.label) || field.name;
      const box = make('fieldset', 'dq-plot-axis', {'data-field': field.name});
      const select = make('select', '', {'aria-label': say('plot_axis', {letter}), name: `${field.name}-axis`});
      for (const one of field.choices) select.append(make('option', '', {value: one.name}, words(one.words) || one.name));
      select.value = wish.axis;
      select.addEventListener('change', () => {
        this.set(plan, field, {axis: select.value, values: ''});
        this.draw().then(() => this.root.querySelector(`[name="${field.name}-axis"]`).focus());
      });
      box.append(make('b', '', {}, letter), select);
      if (wish.axis !== field.choices[0].name) box.append(...this.values(plan, field, wish));
      return box;
    }

    values(plan, field, wish) {
      const choices = plan.menus[field.name][wish.axis];
      const hint = say(choices || !field.choices.find((one) => one.name === wish.axis)?.is_numbers ? 'plot_values_text' : 'plot_values');
      const text = make('textarea', '', {rows: 1, placeholder: hint, 'aria-label': hint, title: hint, name: `${field.name}-values`});
      text.value = wish.values || '';
      const fit = () => { text.style.height = 'auto'; text.style.height = `${Math.min(180, text.scrollHeight + 2)}px`; };
      const write = () => { this.set(plan, field, {axis: wish.axis, values: text.value}); fit(); };
      text.addEventListener('input', write);
      requestAnimationFrame(fit);
      if (!choices) return [text];
      const add = make('select', 'dq-plot-add', {'aria-label': say('plot_add'), title: say('plot_add')});
      add.append(make('option', '', {value: ''}, '+'));
      for (const value of choices) add.append(make('option', '', {value}, nameOf(value)));
      add.addEventListener('change', () => {
        if (add.value) text.value = [text.value.trim().replace(/,$/, ''), quoted(add.value)].filter(Boolean).join(', ');
        add.value = '';
        write();
      });
      const fill = make('button', 'dq-btn dq-plot-fill', {type: 'button'}, say('plot_fill'));
      fill.addEventListener('click', () => { text.value = choices.map(quoted).join(', '); write(); });
      const tools = make('div', 'dq-plot-tools');
      tools.append(add, fill);
      return [tools, text];
    }
  }

  window.danqingPlots = (element, props, watch) => {
    const panel = new Panel(element, props);
    panels.add(panel);
    watch('value', () => panel.follow());
  };

  // Extensions came or went: their plans are asked for anew, and so is the menu that lists them.
  window.danqingPlansChanged = () => {
    for (const tab of Object.keys(plansOf)) delete plansOf[tab];
    for (const panel of panels) panel.draw();
    for (const button of document.querySelectorAll('.dq-plans-again')) button.click();
  };
})();
