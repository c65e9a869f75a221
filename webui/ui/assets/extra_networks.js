/* The sub-tabs under the prompt and the field of cards: only what is in sight is drawn. */
(() => {
  'use strict';
  const {say, make, button, ask, reason, drawCard, openDetails, areDetailsOpen, isUsed, insert, remove} = window.danqingCards;
  const KINDS = ['embedding', 'hypernetwork', 'checkpoint', 'lora'];
  const SORTS = ['name', 'created', 'modified', 'path'];
  const BLOCK = 60; // cards asked for at once
  const GAP = 8;
  const LEAST_WIDTH = 132;
  const RATIO = 1.36;
  const LOOK_EVERY = 1000;

  // Browsers may be told to remember nothing
  const recall = (name) => { try { return localStorage.getItem(`danqing-net-${name}`); } catch { return null; } };
  const remember = (name, value) => { try { localStorage.setItem(`danqing-net-${name}`, value); } catch { /* so be it */ } };

  class Panel {
    constructor(host, choose) {
      this.host = host;
      this.choose = choose;
      this.prefix = host.dataset.prefix;
      this.kind = null;
      this.wish = {q: '', folder: '', sort: recall('sort') || 'name', down: recall('down') === 'yes'};
      if (!SORTS.includes(this.wish.sort)) this.wish.sort = 'name';
      Object.assign(this, {cards: [], total: null, weight: 1});
      this.begin();
      this.drawTabs();
    }

    begin() { Object.assign(this, {asked: new Set(), isStale: true, turn: (this.turn || 0) + 1}); }

    // The row of sub-tabs

    drawTabs() {
      const row = make('div', 'dq-net-tabs');
      row.setAttribute('role', 'tablist');
      row.setAttribute('aria-label', say('net_tabs'));
      for (const kind of ['generation', ...KINDS]) {
        const tab = button('dq-net-tab', `net_${kind}`);
        tab.setAttribute('role', 'tab');
        tab.id = `${this.prefix}net-tab-${kind}`;
        tab.dataset.kind = kind;
        tab.addEventListener('click', () => this.open(kind === 'generation' ? null : kind));
        row.append(tab);
      }
      row.addEventListener('keydown', (event) => this.stepTabs(event));
      this.host.replaceChildren(row);
      this.row = row;
      this.markTabs();
    }

    stepTabs(event) {
      const tabs = [...this.row.children];
      const now = tabs.indexOf(document.activeElement);
      const next = tabs[{ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: tabs.length - 1}[event.key]];
      if (next) { event.preventDefault(); next.focus(); next.click(); }
    }

    markTabs() {
      for (const tab of this.row.children) {
        const isOpen = tab.dataset.kind === (this.kind || 'generation');
        tab.setAttribute('aria-selected', String(isOpen));
        tab.tabIndex = isOpen ? 0 : -1; // the arrows go on from there
      }
    }

    open(kind) {
      this.host.closest('.dq-studio').classList.toggle('dq-net-open', Boolean(kind));
      if (this.kind === kind) return;
      this.kind = kind;
      this.markTabs();
      clearInterval(this.timer);
      if (this.field) this.field.remove();
      this.field = null;
      if (!kind) return;
      Object.assign(this.wish, {q: '', folder: ''});
      Object.assign(this, {cards: [], total: null});
      this.drawField();
      this.reload();
      this.timer = setInterval(() => this.look(), LOOK_EVERY);
    }

    // The field of cards

    drawField() {
      this.field = make('div', 'dq-net-field-of-cards');
      this.field.setAttribute('role', 'tabpanel');
      this.field.setAttribute('aria-labelledby', `${this.prefix}net-tab-${this.kind}`);
      this.folders = make('nav', 'dq-chips dq-net-folders');
      this.folders.setAttribute('aria-label', say('net_folders'));
      this.scroll = make('div', 'dq-net-scroll');
      this.scroll.tabIndex = -1;
      this.space = make('div', 'dq-net-space');
      this.space.setAttribute('role', 'list');
      this.space.setAttribute('aria-label', say(`net_${this.kind}`));
      this.scroll.append(this.space);
      this.scroll.addEventListener('scroll', () => this.show());
      this.space.addEventListener('keydown', (event) => this.stepCards(event));
      this.field.addEventListener('pointerdown', () => { this.next = null; });
      this.foot = make('p', 'dq-net-foot');
      this.foot.setAttribute('role', 'status');
      this.field.append(this.drawBar(), this.folders, this.scroll, this.foot);
      this.field.addEventListener('click', (event) => this.clicked(event));
      this.host.append(this.field);
      new ResizeObserver(() => this.show()).observe(this.scroll);
    }

    drawBar() {
      const bar = make('div', 'dq-net-bar');
      bar.append(this.drawSearch(), this.drawSort(), this.drawTurn(), this.drawRefresh());
      return bar;
    }

    drawSearch() {
      const search = make('input', 'dq-net-search');
      Object.assign(search, {type: 'search', placeholder: say('net_search')});
      search.setAttribute('aria-label', say('net_search'));
      let due = null;
      search.addEventListener('input', () => { clearTimeout(due); due = setTimeout(() => { this.wish.q = search.value.trim(); this.reload(); }, 180); });
      return search;
    }

    drawSort() {
      const sort = make('select', 'dq-net-sort');
      sort.setAttribute('aria-label', say('net_sort'));
      sort.title = say('net_sort');
      for (const name of SORTS) sort.append(new Option(say(`net_sort_${name}`), name));
      sort.value = this.wish.sort;
      sort.addEventListener('change', () => { this.wish.sort = sort.value; remember('sort', sort.value); this.reload(); });
      return sort;
    }

    drawTurn() {
      const turn = button('dq-btn dq-net-turn', 'net_reverse', '⇅');
      turn.setAttribute('aria-pressed', String(this.wish.down));
      turn.addEventListener('click', () => {
        this.wish.down = !this.wish.down;
        remember('down', this.wish.down ? 'yes' : 'no');
        turn.setAttribute('aria-pressed', String(this.wish.down));
        this.reload();
      });
      return turn;
    }

    drawRefresh() {
      const refresh = button('dq-btn dq-net-refresh dq-sign dq-refresh', 'net_refresh', '');
      refresh.addEventListener('click', async () => {
        refresh.disabled = true;
        const problem = await ask('ui/cards/refresh', {method: 'POST'}).then(() => '', (err) => err.message);
        refresh.disabled = false;
        if (problem) this.tell(problem); else this.reload(true);
      });
      return refresh;
    }

    drawFolders(folders) {
      const here = this.wish.folder;
      const key = JSON.stringify([here, folders]);
      if (key === this.folders.dataset.key) return; // a chip drawn anew under a finger hears no click
      this.folders.dataset.key = key;
      const parts = here ? here.split('/') : [];
      const row = [];
      const chip = (text, folder, isOn) => {
        const made = make('button', 'dq-btn dq-chip', text);
        made.type = 'button';
        made.dataset.folder = folder;
        made.setAttribute('aria-pressed', String(isOn));
        row.push(made);
      };
      if (folders.length || here) chip(say('net_all'), '', !here);
      parts.forEach((part, index) => chip(part, parts.slice(0, index + 1).join('/'), index === parts.length - 1));
      for (const [folder, count] of folders) {
        const isInside = !here || folder.startsWith(`${here}/`);
        if (isInside && folder.split('/').length === parts.length + 1) chip(`${folder.split('/').pop()} ${count}`, folder, false);
      }
      const focused = this.folders.contains(document.activeElement) ? document.activeElement.dataset.folder : null;
      this.folders.replaceChildren(...row);
      const again = focused !== null && row.find((made) => made.dataset.folder === focused);
      if (again) again.focus({preventScroll: true});
    }

    tell(text) { if (this.foot && this.foot.textContent !== text) this.foot.textContent = text; }

    // Asking

    reload(keepsPlace = false) {
      if (!this.field) return;
      this.begin();
      if (!keepsPlace) { this.tell(say('net_looking')); this.scroll.scrollTop = 0; }
      this.ask(0);
      if (keepsPlace && this.first) this.ask(this.first);
    }

    async ask(index) {
      const start = index - (index % BLOCK);
      if (this.asked.has(start)) return;
      this.asked.add(start);
      const {turn, kind} = this;
      const query = new URLSearchParams({...this.wish, start, count: BLOCK});
      const told = await ask(`ui/cards/${kind}?${query}`).catch((problem) => ({problem: problem.message}));
      if (turn !== this.turn || kind !== this.kind) return;
      if (told.problem) { this.asked.delete(start); this.tell(told.problem); return; }
      this.take(told);
    }

    take(told) {
      // What was asked for first tells the state: where it is another by now, the next look sees it
      if (this.isStale) Object.assign(this, {cards: [], state: told.state, isStale: false});
      Object.assign(this, {total: told.total, weight: told.weight});
      told.cards.forEach((card, place) => { this.cards[told.start + place] = card; });
      if (told.folders) this.drawFolders(told.folders);
      const unread = told.unread ? say('net_reading', {count: told.unread.toLocaleString()}) : '';
      this.tell([say('net_count', {count: told.total.toLocaleString()}), unread].filter(Boolean).join(' · '));
      this.show();
    }

    // A moment has passed: other files, more of them read, another checkpoint?
    async look() {
      if (!this.host.isConnected) { clearInterval(this.timer); return; }
      if (this.host.offsetParent === null || document.hidden || areDetailsOpen() || this.isLooking || this.total === null) return;
      this.isLooking = true;
      const {turn, kind} = this;
      const told = await ask(`ui/cards/${kind}/state`).catch(() => null);
      this.isLooking = false;
      if (told && turn === this.turn && kind === this.kind && told.state !== this.state) this.reload(true);
    }

    // Showing: only the rows in sight

    measure() {
      const width = this.space.clientWidth;
      if (!width) return null;
      const across = Math.max(2, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
      const cardWidth = (width - GAP * (across - 1)) / across;
      return {across, width: cardWidth, height: Math.round(cardWidth * RATIO)};
    }

    // First card to draw and the one behind the last: a row more than is in sight at both ends
    inSight({across, height}) {
      const row = height + GAP;
      const {scrollTop, clientHeight} = this.scroll;
      const first = Math.max(0, Math.floor(scrollTop / row) - 1) * across;
      const last = (Math.ceil((scrollTop + clientHeight) / row) + 1) * across;
      return [first, Math.min(this.total, last)];
    }

    show() {
      if (!this.field || this.total === null) return;
      const size = this.measure();
      if (!size) return;
      if (!this.total) { this.showNone(); return; }
      this.space.style.height = `${Math.ceil(this.total / size.across) * (size.height + GAP) - GAP}px`;
      const [first, last] = this.inSight(size);
      this.first = first;
      const drawn = new Map();
      for (const child of [...this.space.children]) {
        const index = Number(child.dataset.index);
        const isWanted = (index >= first && index < last) || child.contains(document.activeElement);
        if (isWanted && index < this.total) drawn.set(index, child); else child.remove();
      }
      const missing = [];
      for (let index = first; index < last; index += 1) {
        if (this.cards[index]) this.put(index, drawn.get(index), size); else missing.push(index);
      }
      this.mark();
      this.focusNext();
      clearTimeout(this.asking); // what is only scrolled past is not asked for
      if (missing.length) this.asking = setTimeout(() => missing.forEach((index) => this.ask(index)), 60);
    }

    showNone() {
      this.space.style.height = '';
      const key = this.wish.q || this.wish.folder ? 'net_none' : `net_empty_${this.kind}`;
      this.space.replaceChildren(make('p', 'dq-net-none', say(key)));
    }

    // A card in its place; drawn anew only where it has changed, and then the focus stays on it
    put(index, child, {across, width, height}) {
      const card = this.cards[index];
      let drawn = child;
      const shows = JSON.stringify(card);
      if (!drawn || drawn.shows !== shows) {
        drawn = drawCard(card);
        drawn.shows = shows;
        drawn.dataset.index = index;
        const focused = child && child.contains(document.activeElement) ? document.activeElement.className : '';
        if (child) child.replaceWith(drawn); else this.space.append(drawn);
        if (focused) drawn.getElementsByClassName(focused)[0].focus({preventScroll: true});
      }
      drawn.setAttribute('aria-posinset', index + 1);
      drawn.setAttribute('aria-setsize', this.total);
      const [left, top] = [(index % across) * (width + GAP), Math.floor(index / across) * (height + GAP)];
      drawn.style.cssText = `width:${width}px;height:${height}px;left:${left}px;top:${top}px`;
    }

    mark() {
      if (!this.field) return;
      for (const child of this.space.children) {
        const card = this.cards[child.dataset.index];
        if (card) child.querySelector('.dq-net-press').setAttribute('aria-pressed', String(isUsed(this.prefix, card)));
      }
    }

    // Arrow keys go from card to card
    stepCards(event) {
      const at = event.target.closest('.dq-net-card');
      const size = this.measure();
      if (!at || !size) return;
      const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size.across, ArrowDown: size.across}[event.key];
      const now = Number(at.dataset.index);
      const next = {Home: 0, End: this.total - 1}[event.key] ?? (by ? now + by : -1);
      if (next < 0 || next >= this.total) return;
      event.preventDefault();
      const top = Math.floor(next / size.across) * (size.height + GAP);
      const {scrollTop, clientHeight} = this.scroll;
      if (top < scrollTop) this.scroll.scrollTop = top;
      else if (top + size.height > scrollTop + clientHeight) this.scroll.scrollTop = top + size.height - clientHeight;
      this.next = next;
      this.show();
    }

    // Where the arrows went; the card may have to be asked for first
    focusNext() {
      const drawn = this.space.querySelector(`[data-index="${this.next}"] .dq-net-press`);
      if (!drawn) return;
      this.next = null;
      drawn.focus({preventScroll: true});
    }

    // Doing

    clicked(event) {
      const at = (selector) => event.target.closest(selector);
      const folder = at('[data-folder]');
      if (folder) { this.wish.folder = folder.dataset.folder; this.reload(); return; }
      const drawn = at('.dq-net-card');
      const card = drawn && this.cards[drawn.dataset.index];
      if (!card) return;
      if (at('.dq-net-more') || (card.problem && at('.dq-net-press'))) {
        openDetails(this, card.id).catch((problem) => this.tell(problem.message));
        return;
      }
      if (card.kind === 'checkpoint') { this.choose({act: 'checkpoint', id: card.id}); return; }
      if (isUsed(this.prefix, card)) remove(this.prefix, card); else insert(this.prefix, card, this.weight);
      if (reason(card)) this.tell(reason(card));
      this.mark();
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
