/* Blocks of extensions on the painting tabs (extension_panels.py reads their values).

   The value is a JSON text: {extension: {on, values}}; fields that stand as usual are left out. */
(() => {
  'use strict';
  const {say, make} = window.danqingTexts;
  const {words} = window.danqingFields;
  const panels = new Set();

  class Panels extends window.danqingFields {
    constructor(element, props) {
      super();
      this.props = props;
      this.root = element.querySelector('.dq-exts');
      this.tab = this.root.dataset.tab;
      this.state = this.parsed();
      this.open = new Set();
      this.load();
    }

    parsed() {
      try { return JSON.parse(this.props.value || '{}'); } catch { return {}; }
    }

    json() { return Object.keys(this.state).length ? JSON.stringify(this.state) : ''; }

    follow() {
      if ((this.props.value || '') === this.json()) return;
      this.state = this.parsed();
      this.draw();
    }

    async load() {
      try {
        const answer = await fetch(`ui/extensions/forms/${this.tab}`);
        if (!answer.ok) throw new Error(answer.status);
        this.forms = await answer.json();
      } catch {
        this.root.replaceChildren(make('p', 'dq-soft', {role: 'status'}, say('ext_unread')));
        return;
      }
      for (const form of this.forms) if (form.is_open) this.open.add(form.name);
      this.draw();
    }

    draw() {
      if (!this.forms) return;
      const again = make('button', 'dq-btn dq-chip dq-ext-again', {type: 'button', title: say('ext_refresh_hint')}, say('ext_refresh'));
      again.addEventListener('click', () => this.refresh(again));
      const blocks = this.forms.map((form) => this.block(form));
      this.root.replaceChildren(...blocks, ...(blocks.length || this.tab !== 'extras' ? [again] : []));
    }

    async refresh(button) {
      button.disabled = true;
      try {
        const answer = await fetch('ui/extensions/refresh', {method: 'POST'});
        if (!answer.ok) throw new Error(answer.status);
        await window.danqingFormsChanged();
      } catch { this.root.append(make('p', 'dq-soft', {role: 'status'}, say('ext_unread'))); }
      button.disabled = false;
    }

    // One extension

    isOn(form) { return form.has_switch ? (this.state[form.name]?.on ?? form.is_on) : true; }

    value(form, field) { return this.state[form.name]?.values?.[field.name] ?? this.usual(field); }

    write(form, change) {
      const before = this.state[form.name] || {};
      const block = {on: this.isOn(form), values: {...before.values}, ...change};
      const isUsual = block.on === (form.has_switch ? form.is_on : true) && !Object.keys(block.values).length;
      if (isUsual && !form.is_on) delete this.state[form.name]; else this.state[form.name] = block;
      this.props.value = this.json();
    }

    set(form, field, value) {
      const values = {...this.state[form.name]?.values};
      if (value === this.usual(field)) delete values[field.name]; else values[field.name] = value;
      this.write(form, {values});
      this.show(form);
    }

    block(form) {
      const block = make('div', 'dq-ext', {'data-name': form.name});
      const box = make('details');
      box.open = this.open.has(form.name);
      box.addEventListener('toggle', () => this.open[box.open ? 'add' : 'delete'](form.name));
      block.append(box);
      const head = make('summary', 'dq-ext-head');
      head.append(make('span', '', {}, words(form.title)));
      if (form.has_switch) {
        const flip = make('input', 'dq-ext-switch', {type: 'checkbox', role: 'switch', 'aria-label': words(form.title)});
        flip.checked = this.isOn(form);
        flip.addEventListener('change', () => {
          this.write(form, {on: flip.checked});
          if (flip.checked && form.fields.length) box.open = true;
        });
        block.append(flip); // beside the summary: a control in a control cannot be reached by everyone
      }
      const body = make('div', 'dq-plot dq-ext-body');
      body.append(...form.fields.map((field) => this.field(form, field)));
      box.append(head, body);
      requestAnimationFrame(() => this.show(form));
      return block;
    }
  }

  window.danqingExtensions = (element, props, watch) => {
    const panel = new Panels(element, props);
    panels.add(panel);
    watch('value', () => panel.follow());
  };

  // Extensions came, went or were changed: what they show on the tabs is asked for anew.
  window.danqingFormsChanged = async () => {
    window.danqingPlansChanged();
    for (const panel of panels) await panel.load();
  };
})();
