/* The sub-tabs under the prompt and the cards of models: drawn here, only what is in sight.
   Everything a file says is foreign: it is shown as text, never as HTML. */
(() => {
  'use strict';
  const facts = window.danqingFacts;
  const isChinese = (navigator.language || '').toLowerCase().startsWith('zh');
  const say = (key, values = {}) => {
    let text = facts.texts[key][isChinese ? 1 : 0];
    for (const [name, value] of Object.entries(values)) text = text.replace(`{${name}}`, value);
    return text;
  };
  const KINDS = ['embedding', 'hypernetwork', 'checkpoint', 'lora'];
  const SORTS = ['name', 'created', 'modified', 'path'];
  const BLOCK = 60; // cards asked for at once
  const GAP = 8;
  const LEAST_WIDTH = 132;
  const RATIO = 1.36;

  const make = (tag, className = '', text = '') => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };
  const button = (className, key, sign) => {
    const made = make('button', className, sign === undefined ? say(key) : sign);
    made.type = 'button';
    if (sign !== undefined) { made.title = say(key); made.setAttribute('aria-label', say(key)); }
    return made;
  };
  const ask = async (address, options = {}) => {
    const answer = await fetch(address, {cache: 'no-store', ...options});
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(typeof told.detail === 'string' ? told.detail : say('net_failed'));
    return told;
  };
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

  // The prompts, and what a card changes in them

  const lastFocused = {};
  document.addEventListener('focusin', (event) => {
    const box = event.target.closest && event.target.closest('[id$=prompt], [id$=negative]');
    if (box) lastFocused[box.id.replace(/(prompt|negative)$/, '')] = box.id.match(/(prompt|negative)$/)[0];
  });
  const area = (prefix, name) => document.querySelector(`#${prefix}${name} textarea`);
  const put = (box, text) => {
    if (!box || box.value === text) return;
    box.value = text;
    box.dispatchEvent(new Event('input', {bubbles: true}));
  };
  const joined = (text, more, between) => {
    const start = text.trimEnd();
    if (!more) return text;
    return start ? `${start}${/[,，]$/.test(start) && between === ', ' ? ' ' : between}${more}` : more;
  };
  const without = (text, pattern) => text.replace(pattern, '').replace(/^[\s,]+/, '');
  const tagOf = (card) => (card.kind === 'hypernetwork' ? 'hypernet' : 'lora');
  const tagPattern = (card) => {
    const trigger = card.trigger ? `(?:[\\s,]*${escaped(card.trigger)})?` : '';
    return new RegExp(`[\\s,]*<${tagOf(card)}:${escaped(card.word)}(?::[^>]*)?>${trigger}`, 'g');
  };
  const wordPattern = (card) => {
    const word = escaped(card.word);
    return new RegExp(`[\\s,]*\\(${word}:[^()]*\\)|(?:^|[\\s,]+)${word}(?=$|[\\s,])`, 'g');
  };
  const places = (card) => (card.kind === 'embedding' ? ['prompt', 'negative'] : ['prompt']);
  const patternOf = (card) => (card.kind === 'embedding' ? wordPattern(card) : tagPattern(card));
  const isUsed = (prefix, card) => {
    if (card.kind === 'checkpoint') return card.is_chosen;
    return places(card).some((name) => {
      const box = area(prefix, name);
      return Boolean(box) && patternOf(card).test(box.value);
    });
  };
  const remove = (prefix, card) => {
    for (const name of places(card)) {
      const box = area(prefix, name);
      put(box, without(box.value, patternOf(card)));
    }
    if (card.negative) {
      const box = area(prefix, 'negative');
      put(box, without(box.value, new RegExp(`[\\s,]*${escaped(card.negative)}`, 'g')));
    }
  };
  const insert = (prefix, card, usualWeight) => {
    if (card.kind === 'embedding') {
      const box = area(prefix, lastFocused[prefix] || 'prompt');
      put(box, joined(box.value, card.word, ', '));
    } else {
      const box = area(prefix, 'prompt');
      const tag = `<${tagOf(card)}:${card.word}:${card.weight || usualWeight}>`;
      put(box, joined(box.value, [tag, card.trigger].filter(Boolean).join(' '), ' '));
    }
    const box = area(prefix, 'negative');
    if (card.negative && !box.value.includes(card.negative)) put(box, joined(box.value, card.negative, ', '));
  };

  // One card

  const placeholder = (card) => {
    const made = make('div', 'dq-net-blank');
    let hue = 0;
    for (const letter of card.name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
    made.style.setProperty('--dq-hue', hue);
    made.append(make('span', '', [...card.name.replace(/[_\-.\s]+/g, '')].slice(0, 2).join('')));
    return made;
  };
  const pictureOf = (card) => {
    if (!card.thumb) return placeholder(card);
    const image = make('img');
    image.src = card.thumb;
    image.alt = '';
    image.decoding = 'async';
    image.addEventListener('error', () => image.replaceWith(placeholder(card)), {once: true});
    return image;
  };
  const reason = (card) => {
    if (card.problem) return card.problem;
    if (card.fits) return '';
    return say(card.chosen_is ? 'net_other_family' : 'net_other_family_plain', card);
  };
  const badgeOf = (card) => [card.badge, card.is_basic && say('net_basic')].filter(Boolean).join(' · ');
  const drawCard = (card) => {
    const why = reason(card);
    const made = make('article', 'dq-net-card');
    made.dataset.id = card.id;
    made.classList.toggle('dq-net-dim', Boolean(why));
    const press = make('button', 'dq-net-press');
    press.type = 'button';
    press.title = [card.file, card.title, card.trigger || card.words.join(', '), card.note, why].filter(Boolean).join('\n').slice(0, 600);
    press.setAttribute('aria-label', [card.name, badgeOf(card), why].filter(Boolean).join(', '));
    const name = make('div', 'dq-net-name');
    name.append(make('b', '', card.name));
    const line = why || card.note || card.trigger || card.words.join(', ');
    if (line) name.append(make('small', '', line.slice(0, 160)));
    made.append(pictureOf(card), press, name);
    if (badgeOf(card)) made.append(make('span', 'dq-net-badge', badgeOf(card)));
    made.append(button('dq-net-more', 'net_details', 'i'));
    return made;
  };

  // The details: what the file says, what people note

  const size = (bytes) => {
    const units = ['B', 'KB', 'MB', 'GB'];
    let step = 0;
    let amount = bytes;
    while (amount >= 1000 && step < 3) { amount /= 1024; step += 1; }
    return `${amount.toFixed(step && amount < 100 ? 1 : 0)} ${units[step]}`;
  };
  const FIELDS = [
    ['description', 'textarea'], ['sd_version', 'select'], ['weight', 'number'],
    ['activation', 'textarea'], ['negative', 'textarea'], ['more_notes', 'textarea'],
  ];
  const noteName = (name) => (name === 'more_notes' ? 'notes' : name);
  const field = (name, sort, card) => {
    const box = make('label', `dq-net-field dq-net-field-${name}`);
    box.append(make('span', '', say(name === 'sd_version' ? 'net_version' : `net_${name}`)));
    const input = make(sort === 'number' ? 'input' : sort);
    if (sort === 'number') Object.assign(input, {type: 'number', min: -100, max: 100, step: 0.05});
    if (sort === 'textarea') input.rows = name === 'more_notes' || name === 'description' ? 3 : 2;
    if (sort === 'select') {
      for (const value of ['', ...card.versions]) input.append(new Option(value || say('net_version_unknown'), value));
    }
    input.name = noteName(name);
    input.value = card.notes[noteName(name)];
    box.append(input);
    return box;
  };
  // Only what was changed is saved: somebody else may have changed the rest meanwhile
  const changedNotes = (form, card) => {
    const written = Object.fromEntries(new FormData(form));
    written.weight = Number(written.weight) || 0;
    const before = (name) => String(card.notes[name]).replace(/\r\n?/g, '\n');
    return Object.fromEntries(Object.entries(written).filter(([name, now]) => String(now).replace(/\r\n?/g, '\n') !== before(name)));
  };
  const pictureNumber = (prefix) => {
    const shown = document.querySelector(`#${prefix}stage .dq-after`);
    const found = shown && /ui\/picture\/(\d+)/.exec(shown.src);
    return found ? found[1] : null;
  };
  const drawFacts = (card) => {
    const list = make('dl', 'dq-net-facts');
    const rows = [
      ['file', card.path], ['size', `${size(card.size)}`], ['modified', new Date(card.modified * 1000).toLocaleString()],
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
      chip.addEventListener('click', () => { const box = area(prefix, 'prompt'); put(box, joined(box.value, word, ', ')); });
      row.append(chip);
    }
    return row;
  };
  const drawMetadata = (card) => {
    const box = make('details', 'dq-net-metadata');
    box.append(make('summary', '', say('net_metadata')));
    box.addEventListener('toggle', async () => {
      if (box.childElementCount > 1) return;
      const shown = make('pre', '', '…');
      box.append(shown);
      const answer = await fetch(`ui/card/${card.id}/metadata`, {cache: 'no-store'}).catch(() => null);
      if (!answer || !answer.ok) { shown.replaceWith(make('p', 'dq-net-foot', say('net_failed'))); return; }
      const text = await answer.text();
      if (!text) { shown.replaceWith(make('p', 'dq-net-foot', say('net_no_metadata'))); return; }
      shown.textContent = text;
      shown.before(copyButton(shown));
    });
    return box;
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
  let dialog = null;
  const openDetails = async (panel, cardId) => {
    const card = await ask(`ui/card/${cardId}`);
    if (dialog) dialog.remove();
    dialog = make('dialog', 'dq-net-view');
    dialog.setAttribute('aria-label', card.name);
    dialog.addEventListener('close', () => { dialog.remove(); dialog = null; });
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    fillDetails(panel, card);
    panel.host.append(dialog); // Gradio narrows rules for small screens to what lies in its page
    dialog.showModal();
  };
  const fillDetails = (panel, card) => {
    const head = make('header');
    head.append(make('h3', '', card.title || card.name));
    if (badgeOf(card)) head.append(make('span', 'dq-net-badge', badgeOf(card)));
    const close = button('dq-close', 'net_close', '✕');
    close.addEventListener('click', () => dialog.close());
    head.append(close);

    const side = make('div', 'dq-net-side');
    const status = make('p', 'dq-net-foot');
    status.setAttribute('role', 'status');
    const frame = make('div', 'dq-net-frame');
    frame.append(pictureOf(card));
    const act = async (deed) => {
      status.textContent = '';
      try {
        const now = await deed();
        fillDetails(panel, now);
        dialog.querySelector('[role=status]').textContent = say('net_saved');
        panel.changed(now);
      } catch (problem) { status.textContent = problem.message; }
    };
    const last = button('dq-btn', 'net_picture');
    last.addEventListener('click', () => {
      const number = pictureNumber(panel.prefix);
      if (number === null) { status.textContent = say('net_no_picture'); return; }
      act(() => ask(`ui/card/${card.id}/preview?painted=${number}`, {method: 'POST'}));
    });
    const file = make('input');
    Object.assign(file, {type: 'file', accept: 'image/*', hidden: true});
    file.addEventListener('change', () => { if (file.files.length) act(() => ask(`ui/card/${card.id}/preview`, {method: 'POST', body: file.files[0]})); });
    const upload = button('dq-btn', 'net_upload');
    upload.addEventListener('click', () => file.click());
    side.append(frame, last, upload, file, drawFacts(card));

    const main = make('div', 'dq-net-main');
    if (reason(card)) main.append(make('p', 'dq-net-why', reason(card)));
    if (card.stated) main.append(make('p', 'dq-net-stated', card.stated));
    if (card.all_words.length) main.append(make('h4', '', say('net_words')), drawWords(panel.prefix, card));
    const form = make('form', 'dq-net-form');
    form.append(make('h4', '', say('net_notes')));
    for (const [name, sort] of FIELDS) form.append(field(name, sort, card));
    const save = button('dq-btn dq-net-save', 'net_save');
    save.type = 'submit';
    form.append(save, status);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const notes = changedNotes(form, card);
      act(() => ask(`ui/card/${card.id}/notes`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(notes)}));
    });
    main.append(form, drawMetadata(card));
    const body = make('div', 'dq-net-body');
    body.append(side, main);
    dialog.replaceChildren(head, body);
  };
  // Keys in the open view belong to it alone: page.js is not told of them
  document.addEventListener('keydown', (event) => { if (dialog) event.stopImmediatePropagation(); }, true);

  // One painting tab's sub-tabs and its field of cards

  const chosenCheckpoint = () => { const input = document.querySelector('#dq-checkpoint input'); return input ? input.value : ''; };

  class Panel {
    constructor(host, choose) {
      this.host = host;
      this.choose = choose;
      this.prefix = host.dataset.prefix;
      this.kind = null;
      this.wish = {q: '', folder: '', sort: localStorage.getItem('danqing-net-sort') || 'name', down: localStorage.getItem('danqing-net-down') === 'yes'};
      if (!SORTS.includes(this.wish.sort)) this.wish.sort = 'name';
      this.begin();
      this.drawTabs();
    }

    begin() { this.cards = []; this.total = null; this.unread = 0; this.weight = 1; this.asked = new Set(); this.turn = (this.turn || 0) + 1; }

    drawTabs() {
      const row = make('div', 'dq-net-tabs');
      row.setAttribute('role', 'tablist');
      row.setAttribute('aria-label', say('net_tabs'));
      for (const kind of ['generation', ...KINDS]) {
        const tab = button('dq-net-tab', `net_${kind}`);
        tab.setAttribute('role', 'tab');
        tab.setAttribute('aria-selected', String(kind === 'generation'));
        tab.dataset.kind = kind;
        tab.addEventListener('click', () => this.open(kind === 'generation' ? null : kind));
        row.append(tab);
      }
      row.addEventListener('keydown', (event) => {
        const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
        const tabs = [...row.children];
        const next = by && tabs[tabs.indexOf(document.activeElement) + by];
        if (next) { event.preventDefault(); next.focus(); next.click(); }
      });
      this.host.replaceChildren(row);
      this.row = row;
    }

    open(kind) {
      for (const tab of this.row.children) tab.setAttribute('aria-selected', String(tab.dataset.kind === (kind || 'generation')));
      this.host.closest('.dq-studio').classList.toggle('dq-net-open', Boolean(kind));
      if (this.kind === kind) return;
      this.kind = kind;
      clearInterval(this.timer);
      if (!kind) { this.field.remove(); this.field = null; return; }
      Object.assign(this.wish, {q: '', folder: ''});
      this.drawField();
      this.reload();
      this.checkpoint = chosenCheckpoint();
      this.timer = setInterval(() => this.look(), 1000);
    }

    drawField() {
      const drawn = make('div', 'dq-net-field-of-cards');
      const bar = make('div', 'dq-net-bar');
      const search = make('input', 'dq-net-search');
      Object.assign(search, {type: 'search', placeholder: say('net_search')});
      search.setAttribute('aria-label', say('net_search'));
      let due = null;
      search.addEventListener('input', () => { clearTimeout(due); due = setTimeout(() => { this.wish.q = search.value.trim(); this.reload(); }, 180); });
      const sort = make('select', 'dq-net-sort');
      sort.setAttribute('aria-label', say('net_sort'));
      sort.title = say('net_sort');
      for (const name of SORTS) sort.append(new Option(say(`net_sort_${name}`), name));
      sort.value = this.wish.sort;
      sort.addEventListener('change', () => { this.wish.sort = sort.value; localStorage.setItem('danqing-net-sort', sort.value); this.reload(); });
      const turn = button('dq-btn dq-net-turn', 'net_reverse', '⇅');
      turn.setAttribute('aria-pressed', String(this.wish.down));
      turn.addEventListener('click', () => {
        this.wish.down = !this.wish.down;
        localStorage.setItem('danqing-net-down', this.wish.down ? 'yes' : 'no');
        turn.setAttribute('aria-pressed', String(this.wish.down));
        this.reload();
      });
      const refresh = button('dq-btn dq-net-refresh', 'net_refresh', '');
      refresh.classList.add('dq-sign', 'dq-refresh');
      refresh.addEventListener('click', async () => {
        refresh.disabled = true;
        await ask('ui/cards/refresh', {method: 'POST'}).catch((problem) => this.tell(problem.message));
        refresh.disabled = false;
        this.reload(true);
      });
      bar.append(search, sort, turn, refresh);
      this.folders = make('nav', 'dq-chips dq-net-folders');
      this.folders.setAttribute('aria-label', say('net_folders'));
      this.scroll = make('div', 'dq-net-scroll');
      this.space = make('div', 'dq-net-space');
      this.scroll.append(this.space);
      this.scroll.addEventListener('scroll', () => this.show());
      this.foot = make('p', 'dq-net-foot');
      this.foot.setAttribute('role', 'status');
      drawn.append(bar, this.folders, this.scroll, this.foot);
      drawn.addEventListener('click', (event) => this.clicked(event));
      this.host.append(drawn);
      this.field = drawn;
      new ResizeObserver(() => this.show(true)).observe(this.scroll);
    }

    tell(text) { if (this.foot) this.foot.textContent = text; }

    // Asking

    reload(keepsPlace = false) {
      this.begin();
      if (!keepsPlace) this.tell(say('net_looking'));
      if (!keepsPlace) this.scroll.scrollTop = 0;
      this.ask(keepsPlace ? this.first || 0 : 0);
      if (keepsPlace && this.first) this.ask(0);
    }

    async ask(index) {
      const start = index - (index % BLOCK);
      if (this.asked.has(start)) return;
      this.asked.add(start);
      const {turn, kind} = this;
      const query = new URLSearchParams({q: this.wish.q, folder: this.wish.folder, sort: this.wish.sort, down: this.wish.down, start, count: BLOCK});
      try {
        const told = await ask(`ui/cards/${kind}?${query}`);
        if (turn !== this.turn || kind !== this.kind) return;
        this.take(told);
      } catch (problem) {
        if (turn !== this.turn || kind !== this.kind) return;
        this.asked.delete(start);
        this.tell(problem.message);
      }
    }

    take(told) {
      Object.assign(this, {total: told.total, unread: told.unread, weight: told.weight});
      told.cards.forEach((card, place) => { this.cards[told.start + place] = card; });
      if (told.folders) this.drawFolders(told.folders);
      this.tell([say('net_count', {count: told.total.toLocaleString()}), told.unread ? say('net_reading', {count: told.unread}) : ''].filter(Boolean).join(' · '));
      this.show(true);
    }

    // A second has passed: another checkpoint, or more files read?
    look() {
      if (!this.host.isConnected) { clearInterval(this.timer); return; }
      if (this.host.offsetParent === null || document.hidden || dialog) return;
      if (chosenCheckpoint() !== this.checkpoint) { this.checkpoint = chosenCheckpoint(); this.reload(true); return; }
      this.ticks = (this.ticks || 0) + 1;
      if (this.unread && this.ticks % 2 === 0) this.reload(true);
    }

    drawFolders(folders) {
      const here = this.wish.folder;
      const depth = here ? here.split('/').length : 0;
      const row = [];
      const chip = (text, folder, isOn) => {
        const made = make('button', 'dq-btn dq-chip', text);
        made.type = 'button';
        made.dataset.folder = folder;
        made.setAttribute('aria-pressed', String(isOn));
        row.push(made);
      };
      if (folders.length) chip(say('net_all'), '', !here);
      const parts = here ? here.split('/') : [];
      parts.forEach((part, index) => chip(part, parts.slice(0, index + 1).join('/'), index === depth - 1));
      for (const [folder, count] of folders) {
        const inside = here ? folder.startsWith(`${here}/`) : true;
        if (inside && folder.split('/').length === depth + 1) chip(`${folder.split('/').pop()} ${count}`, folder, false);
      }
      this.folders.replaceChildren(...row);
    }

    // Showing: only the rows in sight

    show(isFresh = false) {
      if (!this.field || this.total === null) return;
      const width = this.space.clientWidth;
      if (!width) return;
      const across = Math.max(2, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
      const cardWidth = (width - GAP * (across - 1)) / across;
      const cardHeight = Math.round(cardWidth * RATIO);
      const rows = Math.ceil(this.total / across);
      this.space.style.height = `${Math.max(0, rows * (cardHeight + GAP) - GAP)}px`;
      const firstRow = Math.max(0, Math.floor(this.scroll.scrollTop / (cardHeight + GAP)) - 1);
      const lastRow = Math.min(rows, Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / (cardHeight + GAP)) + 1);
      const [first, last] = [firstRow * across, Math.min(this.total, lastRow * across)];
      if (isFresh) this.space.replaceChildren();
      if (!this.total) { this.space.style.height = ''; this.space.replaceChildren(make('p', 'dq-net-none', say(this.wish.q || this.wish.folder ? 'net_none' : `net_empty_${this.kind}`))); return; }
      const there = new Map([...this.space.children].map((child) => [Number(child.dataset.index), child]));
      for (const [index, child] of there) if (index < first || index >= last) child.remove();
      const missing = [];
      for (let index = first; index < last; index += 1) {
        if (!this.cards[index]) { missing.push(index); continue; }
        if (there.has(index)) continue;
        const child = drawCard(this.cards[index]);
        child.dataset.index = index;
        child.style.cssText = `width:${cardWidth}px;height:${cardHeight}px;left:${(index % across) * (cardWidth + GAP)}px;top:${Math.floor(index / across) * (cardHeight + GAP)}px`;
        this.space.append(child);
      }
      this.first = first;
      this.mark();
      clearTimeout(this.asking); // what is only scrolled past is not asked for
      if (missing.length) this.asking = setTimeout(() => missing.forEach((index) => this.ask(index)), 60);
    }

    mark() {
      if (!this.field) return;
      for (const child of this.space.children) {
        const card = this.cards[child.dataset.index];
        if (card) child.querySelector('.dq-net-press').setAttribute('aria-pressed', String(isUsed(this.prefix, card)));
      }
    }

    // Doing

    clicked(event) {
      const at = (selector) => event.target.closest(selector);
      const folder = at('[data-folder]');
      if (folder) { this.wish.folder = folder.dataset.folder; this.reload(); return; }
      const drawn = at('.dq-net-card');
      if (!drawn) return;
      const card = this.cards[drawn.dataset.index];
      if (at('.dq-net-more') || (card.problem && at('.dq-net-press'))) {
        openDetails(this, card.id).catch((problem) => this.tell(problem.message));
        return;
      }
      if (card.kind === 'checkpoint') { this.choose({act: 'checkpoint', id: card.id}); return; }
      if (isUsed(this.prefix, card)) remove(this.prefix, card); else insert(this.prefix, card, this.weight);
      if (reason(card)) this.tell(reason(card));
      this.mark();
    }

    changed(now) {
      const index = this.cards.findIndex((card) => card && card.id === now.id);
      if (index >= 0) { this.cards[index] = now; this.show(true); }
    }
  }

  const panels = new Set();
  document.addEventListener('input', (event) => {
    if (event.target.matches && event.target.matches('textarea')) for (const panel of panels) panel.mark();
  });
  window.danqingNetworks = (element, choose) => {
    const host = element.querySelector('.dq-net');
    if (host && !host.firstChild) panels.add(new Panel(host, choose));
  };
})();
