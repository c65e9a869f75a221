/* Draws the fields that extensions declare (extension_forms.py), for whoever keeps their values.

   A form is what the server told: its name, fields, and what they offer; a subclass has `root`,
   `value(form, field)` and `set(form, field, value)`. */
(() => {
  'use strict';
  const {isChinese, say, make} = window.danqingTexts;
  const {ask} = window.danqingCards;
  const words = (text) => (isChinese && text.zh) || text.en || '';

  class Fields {
    static words(text) { return words(text); }

    usual(field) {
      if (field.kind === 'choice') return field.default || field.choices[0];
      return field.default ?? '';
    }

    show(form) {
      for (const field of form.fields) {
        const part = this.root.querySelector(`[data-name="${form.name}"] [data-field="${field.name}"]`);
        if (part) part.hidden = !this.isInSight(form, field);
      }
    }

    // What a field depends on must be in sight too.
    isInSight(form, field, depth = 0) {
      const wish = field.visible_if;
      if (!wish) return true;
      const other = form.fields.find((one) => one.name === wish.field);
      if (!other || depth > form.fields.length) return false;
      return wish.values.includes(this.value(form, other)) && this.isInSight(form, other, depth + 1);
    }

    field(form, field) {
      const part = make('label', `dq-plot-field dq-ext-field dq-ext-${field.kind}`, {'data-field': field.name});
      const help = words(field.help);
      if (help) part.title = help;
      const name = make('span', 'dq-ext-name', {}, words(field.label) || field.name);
      const inputs = this[`draw_${field.kind}`](form, field);
      if (field.kind === 'switch') part.append(...inputs, name); else part.append(name, ...inputs);
      if (help) part.append(make('small', 'dq-soft', {}, help));
      return part;
    }

    // Kinds of fields

    draw_switch(form, field) {
      const box = make('input', '', {type: 'checkbox', name: field.name});
      box.checked = this.value(form, field);
      box.addEventListener('change', () => this.set(form, field, box.checked));
      return [box];
    }

    draw_whole(form, field) { return this.numbers(form, field, (text) => Math.round(Number(text))); }

    draw_number(form, field) { return this.numbers(form, field, Number); }

    numbers(form, field, read) {
      const limits = {min: field.minimum, max: field.maximum, step: field.step};
      const slider = make('input', 'dq-ext-slider', {type: 'range', ...limits, 'aria-label': words(field.label)});
      const box = make('input', '', {type: 'number', ...limits, name: field.name});
      const write = (text) => {
        const value = Math.min(field.maximum, Math.max(field.minimum, read(text) || 0));
        slider.value = box.value = value;
        this.set(form, field, value);
      };
      slider.value = box.value = this.value(form, field);
      slider.addEventListener('input', () => write(slider.value));
      box.addEventListener('change', () => write(box.value));
      return [slider, box];
    }

    draw_choice(form, field) {
      const shown = (index, value) => (field.words[index] ? words(field.words[index]) : value);
      return [this.menu(form, field, field.choices.map((value, index) => [value, shown(index, value)]))];
    }

    draw_file(form, field) {
      const there = form.files[field.name] || [];
      const chosen = this.value(form, field);
      const names = chosen && !there.includes(chosen) ? [chosen, ...there] : there;
      return [this.menu(form, field, [['', say('ext_no_file')], ...names.map((name) => [name, name])])];
    }

    menu(form, field, entries) {
      const box = make('select', '', {name: field.name});
      for (const [value, text] of entries) box.append(make('option', '', {value}, text));
      box.value = this.value(form, field);
      box.addEventListener('change', () => this.set(form, field, box.value));
      return box;
    }

    draw_text(form, field) {
      const isBox = field.lines > 1;
      const box = make(isBox ? 'textarea' : 'input', '', isBox ? {rows: field.lines, name: field.name} : {type: 'text', name: field.name});
      box.value = this.value(form, field);
      box.addEventListener('input', () => this.set(form, field, box.value));
      return [box];
    }

    draw_picture(form, field) {
      const shown = make('img', 'dq-ext-picture', {alt: words(field.label)});
      const clear = make('button', 'dq-btn dq-chip', {type: 'button'}, say('ext_no_picture'));
      const file = make('input', '', {type: 'file', accept: 'image/*', name: field.name});
      const told = make('small', 'dq-wrong', {role: 'status'});
      const show = () => {
        const key = this.value(form, field);
        shown.hidden = clear.hidden = !key;
        if (key) shown.src = `ui/input/${key}?small=true`;
      };
      file.addEventListener('change', async () => {
        if (!file.files.length) return;
        told.textContent = '';
        try { this.set(form, field, (await ask('ui/input', {method: 'POST', body: file.files[0]})).key); } catch (problem) { told.textContent = problem.message; }
        file.value = '';
        show();
      });
      clear.addEventListener('click', (event) => { event.preventDefault(); this.set(form, field, ''); show(); });
      show();
      const choose = make('span', 'dq-btn dq-chip dq-plot-file dq-ext-choose', {}, say('ext_choose_picture'));
      choose.append(file);
      return [choose, shown, clear, told];
    }
  }

  window.danqingFields = Fields;
})();
