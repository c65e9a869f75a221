/* The details of a model: what its file says, what people note, its picture. */
(() => {
  'use strict';
  const {say, make, button, ask, pictureOf, reason, badgeOf, addWord} = window.danqingCards;
  const FIELDS = [
    ['description', 'textarea'], ['sd_version', 'select'], ['weight', 'number'],
    ['activation', 'textarea'], ['negative', 'textarea'], ['notes', 'textarea'],
  ];
  const TEXT_OF = {sd_version: 'net_version', notes: 'net_more_notes'};

  const size = (bytes) => {
    const units = ['B', 'KB', 'MB', 'GB'];
    let step = 0;
    let amount = bytes;
    while (amount >= 1000 && step < 3) { amount /= 1024; step += 1; }
    return `${amount.toFixed(step && amount < 100 ? 1 : 0)} ${units[step]}`;
  };
  const drawFacts = (card) => {
    const list = make('dl', 'dq-net-facts');
    const rows = [
      ['file', card.path], ['size', size(card.size)], ['modified', new Date(card.modified * 1000).toLocaleString()],
      ['hash', card.hash], ['alias', card.alias === card.name ? '' : card.alias], ['author', card.author], ['trigger', card.trigger],
    ];
    for (const [name, value] of rows) {
      if (value) list.append(make('dt', '', say(`net_fact_${name}`)), make('dd', '', value));
    }
    return list;
  };
  const drawWords = (prefix, card) => {
    const row = make('div', 'dq-chips dq-net-words');
    for (const word of card.all_words) {
      const chip = make('button', 'dq-btn dq-chip', word);
      chip.type = 'button';
      chip.addEventListener('click', () => addWord(prefix, word));
      row.append(chip);
    }
    return row;
  };

  // Browsers give pages of other machines no clipboard unless the address is https
  const copyButton = (shown) => {
    const made = button('dq-btn', 'net_copy');
    made.addEventListener('click', () => {
      if (navigator.clipboard) { navigator.clipboard.writeText(shown.textContent); return; }
      window.getSelection().selectAllChildren(shown);
      document.execCommand('copy');
    });
    return made;
  };
  const drawMetadata = (card) => {
    const box = make('details', 'dq-net-metadata');
    box.append(make('summary', '', say('net_metadata')));
    box.addEventListener('toggle', async () => {
      if (box.childElementCount > 1) return;
      const shown = make('pre', '', '…');
      box.append(shown);
      const answer = await fetch(`ui/card/${card.id}/metadata`, {cache: 'no-store'}).catch(() => null);
      const text = answer && answer.ok ? await answer.text() : null;
      if (!text) { shown.replaceWith(make('p', 'dq-net-foot', say(text === null ? 'net_failed' : 'net_no_metadata'))); return; }
      shown.textContent = text;
      shown.before(copyButton(shown));
    });
    return box;
  };

  // Notes

  const field = (name, sort, card) => {
    const box = make('label', `dq-net-field dq-net-field-${name}`);
    box.append(make('span', '', say(TEXT_OF[name] || `net_${name}`)));
    const input = make(sort === 'number' ? 'input' : sort);
    if (sort === 'number') Object.assign(input, {type: 'number', min: -100, max: 100, step: 0.05});
    if (sort === 'textarea') input.rows = name === 'notes' || name === 'description' ? 3 : 2;
    if (sort === 'select') {
      for (const value of ['', ...card.versions]) input.append(new Option(value || say('net_version_unknown'), value));
    }
    input.name = name;
    input.value = card.notes[name];
    box.append(input);
    return box;
  };
  // Only what was changed is saved: somebody else may have changed the rest meanwhile
  const changedNotes = (form, card) => {
    const written = Object.fromEntries(new FormData(form));
    written.weight = Number(written.weight) || 0;
    const plain = (text) => String(text).replace(/\r\n?/g, '\n').trim();
    return Object.fromEntries(Object.entries(written).filter(([name, now]) => plain(now) !== plain(card.notes[name])));
  };
  const pictureNumber = (prefix) => {
    const shown = document.querySelector(`#${prefix}stage .dq-after`);
    const found = shown && /ui\/picture\/(\d+)/.exec(shown.src);
    return found ? found[1] : null;
  };

  class Details {
    constructor(panel, card) {
      Object.assign(this, {panel, card, hasWarned: false});
      this.dialog = make('dialog', 'dq-net-view');
      this.dialog.setAttribute('aria-label', card.name);
      this.status = make('p', 'dq-net-foot');
      this.status.setAttribute('role', 'status');
      this.head = make('header');
      this.frame = make('div', 'dq-net-frame');
      this.why = make('p', 'dq-net-why');
      const body = make('div', 'dq-net-body');
      body.append(this.drawSide(), this.drawMain());
      this.dialog.append(this.head, body);
      this.present();
      this.frame.append(pictureOf(card));
      this.connect();
    }

    // What saving may change
    present() {
      const {card, head, why} = this;
      const close = button('dq-close', 'net_close', '✕');
      close.addEventListener('click', () => this.leave());
      head.replaceChildren(make('h3', '', card.title || card.name));
      if (badgeOf(card)) head.append(make('span', 'dq-net-badge', badgeOf(card)));
      head.append(close);
      why.textContent = reason(card);
      why.hidden = !why.textContent;
    }

    drawSide() {
      const {card} = this;
      const side = make('div', 'dq-net-side');
      const last = button('dq-btn', 'net_picture');
      last.addEventListener('click', () => {
        const number = pictureNumber(this.panel.prefix);
        if (number === null) this.status.textContent = say('net_no_picture');
        else this.savePicture(`ui/card/${card.id}/preview?painted=${number}`, {method: 'POST'});
      });
      const file = make('input');
      Object.assign(file, {type: 'file', accept: 'image/*', hidden: true});
      file.addEventListener('change', () => {
        if (file.files.length) this.savePicture(`ui/card/${card.id}/preview`, {method: 'POST', body: file.files[0]});
      });
      const upload = button('dq-btn', 'net_upload');
      upload.addEventListener('click', () => file.click());
      side.append(this.frame, last, upload, file, drawFacts(card));
      return side;
    }

    drawMain() {
      const {card} = this;
      const main = make('div', 'dq-net-main');
      main.append(this.why);
      if (card.stated) main.append(make('p', 'dq-net-stated', card.stated));
      if (card.all_words.length) main.append(make('h4', '', say('net_words')), drawWords(this.panel.prefix, card));
      main.append(this.drawForm(), drawMetadata(card));
      return main;
    }

    drawForm() {
      const form = make('form', 'dq-net-form');
      form.append(make('h4', '', say('net_notes')));
      for (const [name, sort] of FIELDS) form.append(field(name, sort, this.card));
      const save = button('dq-btn dq-net-save', 'net_save');
      save.type = 'submit';
      form.append(save, this.status);
      form.addEventListener('submit', (event) => { event.preventDefault(); this.saveNotes(save); });
      form.addEventListener('input', () => { this.hasWarned = false; });
      this.form = form;
      return form;
    }

    async save(address, options) {
      this.status.textContent = '';
      try {
        Object.assign(this.card, await ask(address, options));
      } catch (problem) { this.status.textContent = problem.message; return; }
      this.status.textContent = say('net_saved');
      this.present();
      this.panel.reload(true);
    }

    async savePicture(address, options) {
      await this.save(address, options);
      this.frame.replaceChildren(pictureOf(this.card));
    }

    async saveNotes(save) {
      const changes = changedNotes(this.form, this.card);
      save.disabled = true;
      const body = JSON.stringify(changes);
      await this.save(`ui/card/${this.card.id}/notes`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
      save.disabled = false;
    }

    // Closing: what was written and not saved is not lost by a slip

    connect() {
      const {dialog} = this;
      dialog.addEventListener('close', () => { dialog.remove(); shown = null; });
      dialog.addEventListener('cancel', (event) => { if (this.keepsOpen()) event.preventDefault(); });
      let isBehind = false; // a press that began and ended beside the view, not one that drew over a text
      dialog.addEventListener('pointerdown', (event) => { isBehind = event.target === dialog; });
      dialog.addEventListener('click', (event) => { if (isBehind && event.target === dialog) this.leave(); });
    }

    keepsOpen() {
      if (this.hasWarned || !Object.keys(changedNotes(this.form, this.card)).length) return false;
      this.hasWarned = true;
      this.status.textContent = say('net_unsaved');
      this.status.scrollIntoView({block: 'nearest'});
      return true;
    }

    leave() { if (!this.keepsOpen()) this.dialog.close(); }
  }

  let shown = null;
  const openDetails = async (panel, cardId) => {
    const card = await ask(`ui/card/${cardId}`);
    if (shown) shown.dialog.remove();
    shown = new Details(panel, card);
    panel.host.append(shown.dialog); // Gradio narrows rules for small screens to what lies in its page
    shown.dialog.showModal();
  };
  // Keys in the open view belong to it alone: page.js is not told of them
  document.addEventListener('keydown', (event) => { if (shown) event.stopImmediatePropagation(); }, true);

  Object.assign(window.danqingCards, {openDetails, areDetailsOpen: () => Boolean(shown)});
})();
