/* Writing prompts: completion, weights and order by keys, tokens, combinations. What files and
   lists say is foreign: it is shown as text, never as HTML. */
(() => {
  'use strict';
  const {say, make, ask} = window.danqingCards;
  const words = (text) => (window.danqingTexts.isChinese && text.zh) || text.en || '';
  const post = (address, body) => ask(address, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body),
  });
  const put = (box, text, start, end = start) => {
    box.value = text;
    box.setSelectionRange(start, end);
    box.dispatchEvent(new Event('input', {bubbles: true}));
  };

  let keys = {
    keyedit_precision_attention: 0.1, keyedit_precision_extra: 0.05, keyedit_move: true, completion: true, draws: true,
    keyedit_delimiters: '.,\\/!?%^*;:{}=`~() ', keyedit_delimiters_whitespace: ['Tab', 'Carriage Return', 'Line Feed'],
  };
  const WHITE = {Tab: '\t', 'Carriage Return': '\r', 'Line Feed': '\n'};
  const areKeysAsked = {yes: false};
  const learnKeys = () => {
    if (areKeysAsked.yes) return;
    areKeysAsked.yes = true;
    ask('ui/words/keys').then((told) => { keys = {...keys, ...told}; }).catch(() => { areKeysAsked.yes = false; });
  };

  // Boxes: every prompt and negative prompt, also of the second pass
  const boxOf = (target) => (target && target.matches && target.matches('textarea') && target.closest('[id$=prompt], [id$=negative]') ? target : null);
  const isNegative = (box) => /negative$/.test(box.closest('[id$=prompt], [id$=negative]').id);
  const groupOf = (box) => box.closest('.dq-prompts') || box.closest('[id$=prompt], [id$=negative]');

  // Weights

  /* The innermost pair of marks around the cursor: where its inside begins and ends. */
  const around = (text, start, end, open, close) => {
    let depth = 0;
    let from = -1;
    for (let at = start - 1; at >= 0; at -= 1) {
      if (text[at - 1] === '\\') continue;
      if (text[at] === close) depth += 1;
      else if (text[at] === open) { if (!depth) { from = at; break; } depth -= 1; }
    }
    if (from < 0) return null;
    depth = 0;
    for (let at = end; at < text.length; at += 1) {
      if (text[at - 1] === '\\') continue;
      if (text[at] === open) depth += 1;
      else if (text[at] === close) { if (!depth) return [from + 1, at]; depth -= 1; }
    }
    return null;
  };
  const WEIGHT = /:\s*([+-]?\d*\.?\d+)\s*$/;
  const rounded = (number) => parseFloat(number.toFixed(4));

  /* The text with the weight of what is selected, or of what stands under the cursor, one step
     higher or lower; null when there is nothing to weigh. */
  const weighed = (text, start, end, isUp, how = keys) => {
    const sign = isUp ? 1 : -1;
    const change = (inside, by, isBracket) => {
      const [from, to] = inside;
      const content = text.slice(from, to);
      const found = WEIGHT.exec(content);
      const body = found ? content.slice(0, found.index) : content;
      const weight = rounded((found ? parseFloat(found[1]) : isBracket ? 1.1 : 1) + sign * by);
      if (isBracket && weight === 1) {
        return {text: text.slice(0, from - 1) + body + text.slice(to + 1), start: from - 1, end: from - 1 + body.length};
      }
      return {text: `${text.slice(0, from)}${body}:${weight}${text.slice(to)}`, start: from, end: from + body.length};
    };
    if (start !== end && text[start] === '(' && text[end - 1] === ')') { start += 1; end -= 1; }
    const network = around(text, start, end, '<', '>');
    if (network) return change(network, how.keyedit_precision_extra, false);
    const bracket = around(text, start, end, '(', ')');
    if (bracket && (start === end || !text.slice(bracket[0], start).trim())) return change(bracket, how.keyedit_precision_attention, true);
    if (start === end) {
      const ends = how.keyedit_delimiters + how.keyedit_delimiters_whitespace.map((name) => WHITE[name] || '').join('');
      while (start > 0 && !ends.includes(text[start - 1])) start -= 1;
      while (end < text.length && !ends.includes(text[end])) end += 1;
      if (start === end) return null;
    } else {
      while (end > start && text[end - 1] === ' ') end -= 1;
      while (end > start && text[start] === ' ') start += 1;
      if (start === end) return null;
    }
    const weight = rounded(1 + sign * how.keyedit_precision_attention);
    const words = text.slice(start, end);
    return {text: `${text.slice(0, start)}(${words}:${weight})${text.slice(end)}`, start: start + 1, end: start + 1 + words.length};
  };

  /* The text with the item under the cursor (between commas) one place further. */
  const moved = (text, start, end, by) => {
    const items = [];
    let depth = 0;
    let begin = 0;
    for (let at = 0; at <= text.length; at += 1) {
      const sign = text[at];
      if (text[at - 1] !== '\\' && '([{<'.includes(sign || ' ')) depth += 1;
      if (text[at - 1] !== '\\' && ')]}>'.includes(sign || ' ')) depth = Math.max(0, depth - 1);
      if (at === text.length || (sign === ',' && !depth)) { items.push([begin, at]); begin = at + 1; }
    }
    const first = items.findIndex(([, to]) => start <= to);
    const last = items.findIndex(([, to]) => end <= to);
    const other = by < 0 ? first - 1 : last + 1;
    if (first < 0 || last < 0 || other < 0 || other >= items.length) return null;
    const trimmed = ([from, to]) => {
      const inside = text.slice(from, to);
      const lead = inside.length - inside.trimStart().length;
      return inside.trim() ? [from + lead, from + lead + inside.trim().length] : [to, to];
    };
    const mine = [trimmed(items[first])[0], trimmed(items[last])[1]];
    const theirs = trimmed(items[other]);
    const [left, right] = by < 0 ? [theirs, mine] : [mine, theirs];
    const changed = text.slice(0, left[0]) + text.slice(...right) + text.slice(left[1], right[0]) + text.slice(...left) + text.slice(right[1]);
    const place = by < 0 ? left[0] : right[1] - (mine[1] - mine[0]);
    return {text: changed, start: place, end: place + mine[1] - mine[0]};
  };

  // Completion

  let list = null; // {box, panel, offers, chosen, from, to}
  const closeList = () => {
    if (!list) return false;
    list.panel.remove();
    list.box.removeAttribute('aria-activedescendant');
    list = null;
    return true;
  };
  const SEPARATORS = /[,，\n()[\]{}|:：;；]/;
  /* What is being typed before the cursor, and where it begins. */
  const typedAt = (text, cursor) => {
    const before = text.slice(0, cursor);
    const network = before.lastIndexOf('<');
    if (network >= 0 && !/[>\n]/.test(before.slice(network))) return [network, before.slice(network)];
    const wildcard = /__(?:(?!__)[^\s{}|,<>()])*$/.exec(before);
    if (wildcard && (before.slice(0, wildcard.index).split('__').length % 2)) return [wildcard.index, wildcard[0]];
    let begin = cursor;
    while (begin > 0 && (!SEPARATORS.test(before[begin - 1]) || before[begin - 2] === '\\')) begin -= 1;
    const piece = before.slice(begin).trimStart();
    // Chinese behind other words is looked up by itself: it has no spaces of its own
    const chinese = /[^\u3400-\u9fff]([\u3400-\u9fff]+)$/.exec(piece);
    const typed = chinese ? chinese[1] : piece;
    return [cursor - typed.length, typed];
  };
  let turn = 0;
  const suggest = async (box) => {
    turn += 1;
    const mine = turn;
    const cursor = box.selectionStart;
    const [from, typed] = typedAt(box.value, cursor);
    const isEnough = /^(<|__)/.test(typed) || /[^\x00-\x7f]/.test(typed) || typed.trim().length > 1;
    if (!keys.completion || !isEnough || typed.length > 60 || cursor !== box.selectionEnd) { closeList(); return; }
    const told = await ask(`ui/words/complete?q=${encodeURIComponent(typed)}`).catch(() => null);
    if (mine !== turn || !told || document.activeElement !== box || box.selectionStart !== cursor) return;
    openList(box, told.offers.filter((offer) => offer.text !== typed), from, cursor);
  };
  const openList = (box, offers, from, to) => {
    closeList();
    if (!offers.length) return;
    const panel = make('ul', 'dq-offers');
    panel.setAttribute('role', 'listbox');
    panel.setAttribute('aria-label', say('words_offers'));
    offers.forEach((offer, index) => {
      const item = make('li', `dq-offer dq-offer-${offer.kind}`);
      item.id = `dq-offer-${index}`;
      item.setAttribute('role', 'option');
      if (offer.kind === 'tag') item.dataset.category = offer.category;
      item.append(make('b', '', offer.name));
      if (offer.note) item.append(make('i', '', offer.note));
      item.append(make('small', '', kindOf(offer)));
      item.addEventListener('pointerdown', (event) => { event.preventDefault(); take(index); });
      panel.append(item);
    });
    const group = groupOf(box);
    group.classList.add('dq-offering');
    group.append(panel);
    panel.style.top = `${box.getBoundingClientRect().bottom - group.getBoundingClientRect().top + 2}px`;
    list = {box, panel, offers, chosen: -1, from, to};
  };
  const kindOf = (offer) => {
    if (offer.kind === 'tag') return short(offer.count);
    return offer.kind === 'extension' ? words(offer.label) : say(`words_kind_${offer.kind}`);
  };
  const short = (count) => (count >= 1e6 ? `${(count / 1e6).toFixed(1)}M` : count >= 1e3 ? `${Math.round(count / 1e3)}k` : count || '');
  const choose = (by) => {
    const {panel, offers, box} = list;
    list.chosen = (list.chosen + by + offers.length + (list.chosen < 0 && by < 0 ? 1 : 0)) % offers.length;
    [...panel.children].forEach((item, index) => item.setAttribute('aria-selected', String(index === list.chosen)));
    panel.children[list.chosen].scrollIntoView({block: 'nearest'});
    box.setAttribute('aria-activedescendant', `dq-offer-${list.chosen}`);
  };
  const take = (index) => {
    const {box, offers, from, to} = list;
    const offer = offers[index];
    const after = box.value.slice(to);
    const ends = /^(tag|word|embedding|style)$/.test(offer.kind) && !/^\s*[,，)\]}|:]/.test(after) ? ', ' : '';
    const text = offer.text + ends;
    closeList();
    turn += 1;
    put(box, box.value.slice(0, from) + text + after, from + text.length);
    box.focus();
  };

  document.addEventListener('keydown', (event) => {
    const box = boxOf(event.target);
    if (!box || event.isComposing) return;
    const own = () => { event.preventDefault(); event.stopImmediatePropagation(); };
    if (list && list.box === box && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (event.key === 'ArrowDown' || event.key === 'ArrowUp') { own(); choose(event.key === 'ArrowDown' ? 1 : -1); return; }
      if (event.key === 'Tab' && !event.shiftKey) { own(); take(Math.max(0, list.chosen)); return; }
      if (event.key === 'Enter' && list.chosen >= 0) { own(); take(list.chosen); return; }
      if (event.key === 'Escape') { own(); closeList(); turn += 1; return; }
    }
    const by = {ArrowUp: 1, ArrowDown: -1, ArrowLeft: -1, ArrowRight: 1}[event.key];
    const isUpright = event.key === 'ArrowUp' || event.key === 'ArrowDown';
    if (!by || (event.ctrlKey || event.metaKey) === event.altKey || event.shiftKey) return;
    if (event.altKey && (isUpright || !keys.keyedit_move)) return;
    if (!event.altKey && !isUpright) return;
    const [text, start, end] = [box.value, box.selectionStart, box.selectionEnd];
    const changed = event.altKey ? moved(text, start, end, by) : weighed(text, start, end, by > 0);
    own();
    if (changed) { closeList(); turn += 1; put(box, changed.text, changed.start, changed.end); }
  }, true);
  document.addEventListener('focusout', (event) => { if (list && event.target === list.box) closeList(); });

  // What extensions would draw: combinations and what is missing, a moment after the last key

  const timers = new WeakMap();
  const after = (box, name, wait, doing) => {
    const all = timers.get(box) || {};
    clearTimeout(all[name]);
    all[name] = setTimeout(doing, wait);
    timers.set(box, all);
  };
  const look = async (box) => {
    const group = groupOf(box);
    let line = group.querySelector('.dq-words:not(.dq-english)');
    const told = keys.draws && box.value.trim() ? await post('ui/words/look', {text: box.value, negative: isNegative(box)}).catch(() => null) : null;
    const isOne = !told || (told.count === 1 && !told.notes.length && !told.problem);
    const ground = box.closest('.dq-ask');
    if (ground && !isNegative(box)) ground.classList.toggle('dq-has-choices', Boolean(told) && told.count > 1);
    if (isOne) { if (line) line.remove(); return; }
    if (!line) { line = make('p', 'dq-words'); line.setAttribute('role', 'status'); group.append(line); }
    const count = told.count.toLocaleString();
    const parts = [
      told.problem,
      told.count > 1 && say(told.is_more ? 'words_more' : 'words_count', {count}),
      ...told.notes.map(words),
    ];
    line.textContent = parts.filter(Boolean).join(' · ');
    line.classList.toggle('dq-wrong', Boolean(told.problem || told.notes.length));
  };
  // Chinese: the English that is painted, beneath the box
  const showEnglish = async (box) => {
    const group = groupOf(box);
    const text = box.value;
    const told = /[\u3400-\u9fff]/.test(text) ? await post('ui/words/chinese', {text}).catch(() => null) : null;
    if (text !== box.value) return;
    const old = group.querySelector('.dq-english');
    if (old) old.remove();
    if (!told || (!told.english && !(told.unwanted || []).length)) return;
    const line = make('p', 'dq-words dq-english');
    line.setAttribute('role', 'status');
    line.append(make('b', '', say('words_english')), ' ', make('span', '', told.english));
    if (told.unwanted.length && !isNegative(box)) line.append(' · ', make('span', '', say('words_unwanted', {names: told.unwanted.join(', ')})));
    if (told.unknown.length) line.append(' · ', make('mark', '', say('words_unknown', {names: told.unknown.join('、')})));
    if (!told.unwanted.length) {
      const use = make('button', 'dq-btn', say('words_use_english'));
      use.type = 'button';
      use.addEventListener('click', () => { put(box, told.english, told.english.length); box.focus(); });
      line.append(' ', use);
    }
    group.append(line);
  };
  const readAlong = (box, isTyped) => {
    after(box, 'look', 450, () => look(box));
    after(box, 'english', 350, () => showEnglish(box));
    const panel = groupOf(box).querySelector('.dq-tokens-seen');
    if (panel) after(box, 'tokens', 600, () => drawTokens(box, panel));
    if (isTyped) after(box, 'suggest', 120, () => suggest(box));
  };
  document.addEventListener('input', (event) => {
    const box = boxOf(event.target);
    if (!box) return;
    learnKeys();
    readAlong(box, event.isTrusted && !event.isComposing);
  });
  // Letters that are still becoming Chinese are not what was meant
  document.addEventListener('compositionend', (event) => {
    const box = boxOf(event.target);
    if (box) readAlong(box, true);
  });
  // Texts that the program itself put into a box tell nobody; they are looked at now and then
  const seen = new WeakMap();
  setInterval(() => {
    if (document.hidden) return;
    for (const box of document.querySelectorAll('.dq-prompts textarea')) {
      if (seen.get(box) === box.value) continue;
      seen.set(box, box.value);
      if (document.activeElement !== box) readAlong(box, false);
    }
  }, 1000);

  // Tokens

  const drawTokens = async (box, panel) => {
    let told;
    try {
      told = await post('ui/words/tokens', {text: box.value, negative: isNegative(box)});
    } catch (problem) {
      panel.replaceChildren(make('p', 'dq-wrong', problem.message));
      return;
    }
    const head = make('b', '', say('words_tokens_title'));
    const drawn = [head];
    if (told.drawn) drawn.push(make('p', 'dq-soft', say('words_tokens_drawn')));
    for (const text of told.texts) {
      if (text.until) drawn.push(make('p', 'dq-soft', say('words_tokens_until', {step: text.until})));
      text.chunks.forEach((chunk, number) => {
        const row = make('div', 'dq-chunk');
        row.append(make('small', '', say('words_chunk', {number: number + 1, count: `${chunk.length}/75`})));
        chunk.forEach(([word, id, weight, endsWord, isEmbedding], place) => {
          const shown = make('span', `dq-token${place % 2 ? ' dq-odd' : ''}${endsWord ? ' dq-ends' : ''}${isEmbedding ? ' dq-emb' : ''}`, word || '·');
          shown.title = say(isEmbedding ? 'words_embedding' : 'words_token', {number: id, weight});
          if (weight !== 1) shown.dataset.weight = weight > 1 ? 'more' : 'less';
          row.append(shown);
        });
        drawn.push(row);
      });
    }
    panel.replaceChildren(...drawn);
  };
  document.addEventListener('click', (event) => {
    const counter = event.target.closest && event.target.closest('.dq-tokens');
    if (!counter) return;
    const group = counter.closest('.dq-prompts');
    const box = group && group.querySelector('textarea');
    if (!box) return;
    const open = group.querySelector('.dq-tokens-seen');
    counter.setAttribute('aria-expanded', String(!open));
    if (open) { open.remove(); return; }
    const panel = make('div', 'dq-tokens-seen');
    group.append(panel);
    drawTokens(box, panel);
  });

  window.danqingWords = {weighed, moved, typedAt};
})();
