/* The Extensions tab (extensions_routes.py): installed, available, installing, pages of extensions.
   What extensions and lists say is foreign: it is shown as text, never as HTML. */
(() => {
  'use strict';
  const {isChinese, say, make} = window.danqingTexts;
  const {ask} = window.danqingCards;
  const words = (text) => (isChinese && text.zh) || text.en || '';
  const ROOT = 'ui/extension-store';
  const MOST_SHOWN = 200;
  const HIDDEN_TAGS = ['ads', 'localization'];
  const ORDERS = {
    added: (a, b) => b.added.localeCompare(a.added), oldest: (a, b) => a.added.localeCompare(b.added),
    name: (a, b) => a.name.localeCompare(b.name), name_back: (a, b) => b.name.localeCompare(a.name),
    stars: (a, b) => b.stars - a.stars, commit_time: (a, b) => b.commit_time.localeCompare(a.commit_time),
    created_at: (a, b) => b.created_at.localeCompare(a.created_at), as_listed: () => 0,
  };
  const send = (address, body = {}) => ask(address, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  const button = (text, deed, className = '') => {
    const made = make('button', `dq-btn ${className}`, {type: 'button'}, text);
    made.addEventListener('click', deed);
    return made;
  };
  const field = (label, input) => {
    const made = make('label', 'dq-xt-field', {}, label);
    made.append(input);
    return made;
  };
  const menu = (entries, change) => {
    const made = make('select');
    for (const [value, text] of entries) made.append(make('option', '', {value}, text));
    made.addEventListener('change', change);
    return made;
  };
  const webAddress = (text) => (/^https?:\/\//.test(text) ? text : '');

  class Tab {
    constructor(host) {
      this.host = host;
      this.nav = make('div', 'dq-xt-nav', {role: 'tablist'});
      this.line = make('p', 'dq-note dq-xt-line', {role: 'status'});
      this.offer = make('div', 'dq-xt-offers');
      this.body = make('div');
      host.append(this.nav, this.line, this.offer, this.body);
      this.chosen = 'installed';
      this.frames = new Map();
      new IntersectionObserver((seen) => { if (seen[0].isIntersecting) this.open(); }).observe(host);
    }

    tell(text, isWrong = false) {
      this.line.replaceChildren(text);
      this.line.classList.toggle('dq-wrong', isWrong);
    }

    /* One deed at a time; failures are told. True when it went well. */
    async run(what, deed) {
      if (this.isBusy) return false;
      this.isBusy = true;
      this.host.toggleAttribute('aria-busy', true);
      if (what) this.working(what);
      let isDone = false;
      try { await deed(); isDone = true; } catch (problem) { this.tell(problem.message, true); }
      this.isBusy = false;
      this.host.removeAttribute('aria-busy');
      return isDone;
    }

    open() { return this.run('', () => this.load()); }

    async load() {
      this.state = await ask(ROOT);
      if (this.state.page !== (window.danqingPage || 0)) { window.danqingComeBack('page_renewed'); return; }
      const waiting = this.state.waiting.at(-1);
      if (waiting && !this.offer.firstChild) this.show(waiting);
      if (this.state.busy && !this.line.textContent) this.working(this.state.busy);
      this.draw();
      const here = JSON.stringify(this.state.extensions.map((one) => [one.name, one.state, one.version, one.origin?.commit]));
      if (this.here && this.here !== here) window.danqingFormsChanged();
      this.here = here;
    }

    working(what) {
      this.tell(`${say('ext_working', {what})} `);
      this.line.append(button(say('ext_stop'), () => send(`${ROOT}/cancel`).catch(() => null)));
    }

    draw() {
      const pages = this.state.extensions.flatMap((one) => (one.state === 'on' ? one.tabs.map((tab, at) => [`${one.name}/${at}`, words(tab.title) || one.name, one, tab]) : []));
      const tabs = [['installed', say('ext_tab_installed')], ['available', say('ext_tab_available')], ['install', say('ext_tab_install')], ['backups', say('ext_tab_backups')], ...pages];
      if (!tabs.some(([key]) => key === this.chosen)) this.chosen = 'installed';
      this.nav.replaceChildren(...tabs.map(([key, title]) => {
        const made = button(title, () => { this.chosen = key; this.tell(''); this.draw(); }, 'dq-xt-tab');
        made.setAttribute('role', 'tab');
        made.setAttribute('aria-selected', String(key === this.chosen));
        return made;
      }));
      const page = pages.find(([key]) => key === this.chosen);
      for (const [key, frame] of this.frames) if (!pages.some(([other]) => other === key)) { frame.remove(); this.frames.delete(key); } else frame.hidden = key !== this.chosen;
      this.body.hidden = Boolean(page);
      if (page) this.frame(page);
      else this[`draw_${this.chosen}`]();
    }

    /* A page of an extension: what it shows stays while another tab is looked at. */
    frame([key, title, one, tab]) {
      if (this.frames.has(key)) return;
      const path = tab.page.split('/').map(encodeURIComponent).join('/');
      const made = make('iframe', 'dq-xt-frame', {
        src: `ui/x/${encodeURIComponent(one.name)}/page/${path}`, title: say('ext_page', {name: title}),
        sandbox: 'allow-scripts allow-same-origin allow-forms allow-downloads allow-modals', referrerpolicy: 'same-origin',
      });
      this.frames.set(key, made);
      this.host.append(made);
    }

    // Installed

    draw_installed() {
      const search = make('input', '', {type: 'search', placeholder: say('ext_search'), 'aria-label': say('ext_search')});
      search.value = this.wanted || '';
      const list = make('div', 'dq-xt-list');
      const fill = () => {
        this.wanted = search.value;
        const wanted = search.value.trim().toLowerCase();
        const found = this.state.extensions.filter((one) => `${one.name} ${words(one.title)} ${words(one.description)}`.toLowerCase().includes(wanted));
        list.replaceChildren(...found.map((one) => this.card(one)));
        if (!found.length) list.append(make('p', 'dq-soft', {}, say(this.state.extensions.length ? 'ext_none_found' : 'ext_none')));
      };
      search.addEventListener('input', fill);
      const again = button(say('ext_refresh'), () => this.run(say('ext_refresh'), async () => {
        await send('ui/extensions/refresh');
        window.danqingFormsChanged();
        this.tell('');
        await this.load();
      }));
      again.title = say('ext_refresh_hint');
      const head = make('div', 'dq-xt-head');
      head.append(search, again);
      if (this.state.allowed && this.state.extensions.some((one) => one.can_update)) head.append(button(say('ext_check'), () => this.check()));
      this.body.replaceChildren(head, ...this.refusal(), list);
      fill();
    }

    async check() {
      await this.run(say('ext_check'), async () => {
        this.newer = await send(`${ROOT}/check`);
        const count = Object.values(this.newer).filter((told) => told === 'newer').length;
        const failed = Object.values(this.newer).filter((told) => !['newer', 'newest'].includes(told)).length;
        this.tell([
          count ? say('ext_check_some', {count}) : !failed && say('ext_check_none'), failed && say('ext_check_failed', {count: failed}),
        ].filter(Boolean).join(' '), failed > 0);
        this.draw();
      });
    }

    refusal() { return this.state.allowed ? [] : [make('p', 'dq-note', {}, say('ext_off_here'))]; }

    card(one) {
      const made = make('section', 'dq-xt-card', {'data-name': one.name});
      const head = make('label', 'dq-xt-title');
      const flip = make('input', '', {type: 'checkbox', role: 'switch', 'aria-label': say('ext_enable', {name: one.name})});
      flip.checked = one.enabled;
      flip.addEventListener('change', async () => {
        const isDone = await this.run('', async () => {
          await send(`ui/extensions/${encodeURIComponent(one.name)}/enabled`, {is_on: flip.checked});
          await this.load();
        });
        if (!isDone) flip.checked = one.enabled;
      });
      const state = one.state === 'left out' ? 'left' : one.state;
      head.append(flip, make('b', '', {}, words(one.title) || one.name));
      const newer = this.newer?.[one.name];
      if (newer === 'newer') head.append(make('span', 'dq-xt-badge dq-xt-on', {}, say('ext_is_newer')));
      head.append(make('span', `dq-xt-badge dq-xt-${state}`, {}, say(`ext_state_${state}`)));
      made.append(head);
      const told = words(one.description);
      if (told) made.append(make('p', 'dq-xt-says', {}, told));
      made.append(make('p', 'dq-soft', {}, this.facts(one)));
      for (const note of [one.why, ...(one.notes || [])]) if (note) made.append(make('p', one.why === note ? 'dq-xt-why' : 'dq-soft', {}, note));
      if (newer && !['newer', 'newest'].includes(newer)) made.append(make('p', 'dq-xt-why', {}, newer));
      if (one.troubles.length) made.append(this.troubles(one));
      if (one.settings.length) made.append(this.settings(one));
      made.append(this.deeds(one));
      return made;
    }

    facts(one) {
      const origin = one.origin || {};
      return [
        one.version, origin.commit && `${origin.branch || ''} ${origin.commit.slice(0, 8)}`.trim(), say(`ext_kind_${one.kind}`),
        one.is_built_in && say('ext_built_in'), say(one.has_worker_part || one.kind === 'a1111' ? 'ext_runs_both' : 'ext_runs_web'),
        one.state === 'on' && say('ext_loaded_in', {ms: Math.max(1, Math.round(one.seconds * 1000))}), origin.url,
      ].filter(Boolean).join(' · ');
    }

    troubles(one) {
      const made = make('details', 'dq-xt-more');
      made.append(make('summary', '', {}, say('ext_troubles', {count: one.troubles.length})));
      for (const trouble of [...one.troubles].reverse()) {
        const line = make('p', 'dq-xt-trouble', {}, trouble.message);
        line.append(make('small', 'dq-soft', {}, say('ext_in_log', trouble)));
        made.append(line);
      }
      return made;
    }

    deeds(one) {
      const made = make('div', 'dq-xt-deeds');
      const name = one.name;
      const add = (key, deed) => made.append(button(say(key), deed));
      if (!this.state.allowed) return made;
      if (one.lacks_packages) add('ext_packages', () => this.run(name, async () => this.show(await send(`${ROOT}/packages`, {name}))));
      if (one.can_update) add('ext_update', () => this.run(name, async () => {
        const found = await send(`${ROOT}/update`, {name});
        this.tell(found.token ? '' : say('ext_newest', {name}));
        if (found.token) this.show(found);
      }));
      if (one.can_roll_back) add('ext_back', () => window.confirm(say('ext_back_sure', {name})) && this.run(name, async () => {
        await send(`${ROOT}/roll-back`, {name});
        this.tell(say('ext_backed', {name}));
        await this.load();
      }));
      if (one.wants_install) add('ext_script', () => this.run('', () => this.script(name, made)));
      if (one.can_remove) add('ext_remove', () => window.confirm(say('ext_remove_sure', {name})) && this.run(name, async () => {
        const {path} = await send(`${ROOT}/remove`, {name});
        this.tell(say('ext_removed', {path}));
        await this.load();
      }));
      return made;
    }

    /* install.py of an A1111 folder: read first, then run. */
    async script(name, place) {
      const address = `${ROOT}/${encodeURIComponent(name)}/install.py`;
      const {text, prints} = await ask(address);
      place.parentElement.querySelector('.dq-xt-script')?.remove();
      const box = make('div', 'dq-xt-script');
      const go = button(say('ext_script_run'), () => this.run('', async () => {
        this.working(`install.py (${name})`);
        const {is_done: isDone, output} = await send(address, {prints});
        this.tell(`${say(isDone ? 'ext_script_done' : 'ext_script_failed')} ${output.slice(-600)}`, !isDone);
        await this.load();
      }));
      box.append(make('pre', '', {tabindex: '0'}, text), go);
      place.after(box);
    }

    settings(one) {
      const made = make('details', 'dq-xt-more');
      made.append(make('summary', '', {}, say('ext_settings')));
      const reads = {};
      for (const setting of one.settings) {
        const value = one.values[setting.name];
        let input;
        if (setting.kind === 'choice') input = menu(setting.choices.map((choice, at) => [choice, setting.words?.[at] ? words(setting.words[at]) : choice]), () => null);
        else if (setting.kind === 'text' && setting.lines > 1) input = make('textarea', '', {rows: setting.lines});
        else {
          const type = {switch: 'checkbox', whole: 'number', number: 'number'}[setting.kind] || 'text';
          input = make('input', '', {type, ...(type === 'number' ? {min: setting.minimum, max: setting.maximum, step: setting.step} : {})});
        }
        if (setting.kind === 'switch') input.checked = value; else input.value = value ?? '';
        reads[setting.name] = () => (setting.kind === 'switch' ? input.checked : ['whole', 'number'].includes(setting.kind) ? Number(input.value) : input.value);
        const part = field(words(setting.label) || setting.name, input);
        if (words(setting.help)) part.append(make('small', 'dq-soft', {}, words(setting.help)));
        made.append(part);
      }
      made.append(button(say('ext_save'), () => this.run('', async () => {
        const values = Object.fromEntries(Object.entries(reads).map(([name, read]) => [name, read()]));
        one.values = await send(`ui/extensions/${encodeURIComponent(one.name)}/settings`, {values});
        this.tell(say('ext_saved'));
      })));
      return made;
    }

    // Installing

    draw_install() {
      if (!this.state.allowed) { this.body.replaceChildren(...this.refusal()); return; }
      const url = make('input', '', {type: 'url', placeholder: 'https://', id: 'dq-xt-url'});
      const branch = make('input', '', {type: 'text'});
      const name = make('input', '', {type: 'text'});
      const zip = make('input', '', {type: 'file', accept: '.zip'});
      zip.addEventListener('change', () => zip.files.length && this.run(zip.files[0].name, async () => {
        const [file] = zip.files;
        zip.value = '';
        this.show(await ask(`${ROOT}/upload?name=${encodeURIComponent(name.value.trim() || file.name)}`, {method: 'POST', body: file}));
      }));
      const row = make('div', 'dq-xt-deeds');
      const choose = make('label', 'dq-btn dq-xt-file', {}, say('ext_zip'));
      choose.append(zip);
      row.append(button(say('ext_fetch'), () => this.fetch(url.value, branch.value, name.value), 'dq-xt-go'), choose);
      const form = make('div', 'dq-xt-form');
      form.append(make('p', 'dq-note', {}, say('ext_trust')), field(say('ext_url'), url), field(say('ext_branch'), branch), field(say('ext_folder'), name), row);
      this.body.replaceChildren(form);
    }

    fetch(url, branch = '', name = '') {
      return this.run(url, async () => this.show(await send(`${ROOT}/fetch`, {url, branch, name})));
    }

    /* What was fetched, before anything of it is put in. */
    show(found) {
      this.tell('');
      const {name, packages} = found;
      const made = make('section', 'dq-xt-card dq-xt-offer');
      made.append(make('b', '', {}, say(found.is_here ? 'ext_look_packages' : found.replaces ? 'ext_look_update' : 'ext_look', {name: words(found.title) || name})));
      if (words(found.description)) made.append(make('p', 'dq-xt-says', {}, words(found.description)));
      made.append(make('p', 'dq-soft', {}, [found.version, found.origin?.commit?.slice(0, 8), say(`ext_kind_${found.kind}`), found.folder, found.origin?.url].filter(Boolean).join(' · ')));
      if (found.problem) made.append(make('p', 'dq-xt-why', {}, found.problem));
      if (found.changes.length) {
        const list = make('ul', 'dq-xt-changes');
        for (const {commit, time, title} of found.changes) list.append(make('li', '', {}, `${time.slice(0, 10)} ${commit} ${title}`));
        const more = found.changes_count - found.changes.length;
        if (more > 0) list.append(make('li', 'dq-soft', {}, say('ext_changes_more', {count: more})));
        made.append(make('p', '', {}, say(found.is_back ? 'ext_changes_back' : 'ext_changes', {count: found.changes_count})), list);
      }
      const fresh = Object.entries(packages.new);
      const isBad = packages.conflicts.length > 0;
      const lines = isBad ? packages.conflicts : fresh.map(([one, version]) => `${one} ${version}`);
      made.append(make('p', isBad ? 'dq-xt-why' : 'dq-soft', {}, say(isBad ? 'ext_packages_bad' : fresh.length ? 'ext_packages_new' : 'ext_packages_none')));
      if (lines.length) {
        const list = make('ul', 'dq-xt-changes');
        list.append(...lines.map((line) => make('li', '', {}, line)));
        made.append(list);
      }
      if (found.has_submodules) made.append(make('p', 'dq-xt-why', {}, say('ext_submodules')));
      if (found.has_install) made.append(make('p', 'dq-soft', {}, say('ext_script_after')));
      const put = (withPackages) => this.run(name, async () => {
        await send(`${ROOT}/apply`, {token: found.token, with_packages: withPackages});
        this.offer.replaceChildren();
        this.tell(say(found.replaces ? 'ext_done_update' : 'ext_done', {name}));
        this.chosen = 'installed';
        await this.load();
      });
      const row = make('div', 'dq-xt-deeds');
      if (!isBad) row.append(button(say(found.replaces ? 'ext_put_update' : 'ext_put_in'), () => put(true), 'dq-xt-go'));
      if (!found.is_here && (isBad || fresh.length)) row.append(button(say('ext_put_without'), () => put(false)));
      row.append(button(say('ext_discard'), () => { this.offer.replaceChildren(); send(`${ROOT}/discard`, {token: found.token}).catch(() => null); }));
      made.append(row);
      this.offer.replaceChildren(made);
      made.scrollIntoView({block: 'nearest'});
    }

    // Backups: saved states, and what was removed

    draw_backups() {
      const {allowed, states, trash} = this.state;
      const parts = [...this.refusal()];
      if (allowed) {
        const name = make('input', '', {type: 'text', maxlength: '100'});
        const save = button(say('ext_states_save'), () => this.run('', async () => {
          await send(`${ROOT}/states/save`, {name: name.value.trim() || 'Config'});
          this.tell(say('ext_saved'));
          await this.load();
        }), 'dq-xt-go');
        const head = make('div', 'dq-xt-head');
        head.append(field(say('ext_states_name'), name), save);
        parts.push(make('h3', 'dq-xt-heading', {}, say('ext_states')), make('p', 'dq-soft', {}, say('ext_states_hint')), head);
      }
      const saved = make('div', 'dq-xt-rows');
      saved.append(...states.map((one) => this.saved(one)));
      const removed = make('div', 'dq-xt-rows');
      removed.append(...trash.map((one) => this.removed(one)));
      if (!trash.length) removed.append(make('p', 'dq-soft', {}, say('ext_trash_none')));
      parts.push(saved, make('h3', 'dq-xt-heading', {}, say('ext_trash')), removed);
      this.body.replaceChildren(...parts);
    }

    row(title, facts, deeds) {
      const made = make('section', 'dq-xt-card dq-xt-row');
      const row = make('div', 'dq-xt-deeds');
      row.append(...deeds);
      made.append(make('b', '', {}, title), make('span', 'dq-soft', {}, facts), row);
      return made;
    }

    saved(one) {
      const time = new Date(one.time * 1000).toLocaleString(isChinese ? 'zh-CN' : undefined);
      const deeds = [button(say('ext_states_compare'), () => this.run('', async () => {
        const {changes} = await send(`${ROOT}/states/compare`, {name: one.id});
        made.querySelector('.dq-xt-compared')?.remove();
        made.append(this.compared(one, changes));
      }))];
      if (this.state.allowed) deeds.push(this.deletes(`${ROOT}/states/delete`, one.id, one.name));
      const made = this.row(one.name, time, deeds);
      return made;
    }

    /* What is otherwise than it was: each version is fetched and shown before it is taken. */
    compared(state, changes) {
      const made = make('div', 'dq-xt-compared');
      if (!changes.length) { made.append(make('p', 'dq-soft', {}, say('ext_states_same'))); return made; }
      const list = make('ul', 'dq-xt-changes');
      for (const one of changes) {
        const line = make('li', '', {}, `${one.folder}${isChinese ? '：' : ': '}${[
          !one.name && say('ext_states_gone'),
          one.is_enabled !== null && say(one.is_enabled ? 'ext_states_on' : 'ext_states_off'),
          one.commit && say('ext_states_commit', {then: one.commit.slice(0, 8), now: one.commit_now.slice(0, 8)}),
        ].filter(Boolean).join(isChinese ? '，' : ', ')} `);
        if (this.state.allowed && one.commit) line.append(button(say('ext_states_version'), () => this.run(one.name, async () => {
          const found = await send(`${ROOT}/version`, {name: one.name, commit: one.commit});
          this.tell('');
          if (found.token) this.show(found);
        })));
        if (this.state.allowed && !one.name && webAddress(one.remote)) line.append(button(say('ext_fetch'), () => this.fetch(one.remote, '', one.folder)));
        list.append(line);
      }
      made.append(list);
      if (this.state.allowed && changes.some((one) => one.is_enabled !== null)) made.append(button(say('ext_states_switch'), () => this.run('', async () => {
        await send(`${ROOT}/states/switch`, {name: state.id});
        this.tell(say('ext_states_switched', {name: state.name}));
        await this.load();
      }), 'dq-xt-go'));
      return made;
    }

    removed(one) {
      const deeds = this.state.allowed ? [
        button(say('ext_restore'), () => this.run('', async () => {
          await send(`${ROOT}/trash/restore`, {name: one.id});
          this.tell(say('ext_restored', {name: one.folder}));
          await this.load();
        })),
        this.deletes(`${ROOT}/trash/delete`, one.id, one.folder),
      ] : [];
      return this.row(one.folder, one.time, deeds);
    }

    deletes(address, id, name) {
      return button(say('ext_delete'), () => window.confirm(say('ext_delete_sure', {name})) && this.run('', async () => {
        await send(address, {name: id});
        this.tell('');
        await this.load();
      }));
    }

    // Available

    draw_available() {
      if (!this.state.allowed) { this.body.replaceChildren(...this.refusal()); return; }
      const address = make('input', '', {type: 'url'});
      address.value = this.state.index;
      const list = make('div', 'dq-xt-list');
      const fill = () => {
        explained.textContent = this.index.tags[tag.value] || '';
        this.fill(list, search.value, tag.value, sort.value, hide.checked, hideTags.checked, count);
      };
      const search = make('input', '', {type: 'search', placeholder: say('ext_search'), 'aria-label': say('ext_search')});
      search.addEventListener('input', fill);
      const tags = this.index ? [...new Set(this.index.extensions.flatMap((one) => one.tags))].sort() : [];
      const tag = menu([['', say('ext_tag_all')], ...tags.map((one) => [one, one])], fill);
      const sort = menu(Object.keys(ORDERS).map((one) => [one, say(`ext_sort_${one}`)]), fill);
      const explained = make('p', 'dq-soft');
      const check = (key) => {
        const box = make('input', '', {type: 'checkbox'});
        box.checked = true;
        box.addEventListener('change', fill);
        const made = make('label', 'dq-xt-check');
        made.append(box, say(key));
        return [box, made];
      };
      const [hide, hiding] = check('ext_hide_installed');
      const [hideTags, hidingTags] = check('ext_hide_tags');
      const count = make('span', 'dq-soft');
      const load = button(say('ext_load'), () => this.run(address.value, async () => {
        this.index = await send(`${ROOT}/index`, {url: address.value});
        this.state.index = address.value;
        this.tell(this.index.about);
        this.draw_available();
      }), 'dq-xt-go');
      const head = make('div', 'dq-xt-head');
      head.append(field(say('ext_index'), address), load);
      const filters = make('div', 'dq-xt-head dq-xt-filters');
      filters.append(search, field(say('ext_tag'), tag), field(say('ext_sort'), sort), hiding, hidingTags, count);
      filters.hidden = !this.index;
      this.body.replaceChildren(head, filters, explained, list);
      if (this.index) fill(); else list.append(make('p', 'dq-soft', {}, say('ext_index_hint')));
    }

    fill(list, search, tag, sort, hides, hidesTags, count) {
      const isHidden = (one) => hidesTags && one.tags.some((other) => other !== tag && HIDDEN_TAGS.includes(other));
      const wanted = search.trim().toLowerCase();
      const found = this.index.extensions.filter((one) => (
        (!hides || !one.is_installed) && !isHidden(one) && (!tag || one.tags.includes(tag)) && `${one.name} ${one.description}`.toLowerCase().includes(wanted)
      ));
      found.sort(ORDERS[sort]);
      count.textContent = say('ext_count', {shown: Math.min(found.length, MOST_SHOWN), count: found.length});
      list.replaceChildren(...found.slice(0, MOST_SHOWN).map((one) => this.entry(one)));
    }

    entry(one) {
      const made = make('section', 'dq-xt-card');
      const head = make('div', 'dq-xt-title');
      head.append(make('b', '', {}, one.name || one.url));
      const row = make('div', 'dq-xt-deeds');
      if (one.is_installed) head.append(make('span', 'dq-xt-badge dq-xt-on', {}, say('ext_is_installed')));
      else row.append(button(say('ext_fetch'), () => this.fetch(one.url)));
      const facts = [one.added.slice(0, 10), one.stars ? `★ ${one.stars}` : '', one.tags.join(', ')].filter(Boolean).join(' · ');
      made.append(head, make('p', 'dq-xt-says', {}, one.description), make('p', 'dq-soft', {}, facts));
      const address = webAddress(one.url);
      if (address) made.append(make('a', 'dq-xt-link', {href: address, target: '_blank', rel: 'noopener noreferrer'}, address));
      made.append(row);
      return made;
    }
  }

  window.danqingExtensionsTab = (element) => {
    const host = element.querySelector('.dq-xt');
    if (host && !host.firstChild) host.danqing = new Tab(host);
  };
})();
