/* What the card of a model changes in the prompts: put in at the cursor, found again, taken out. */
(() => {
  'use strict';
  const NAMES = ['prompt', 'negative'];

  // Where somebody wrote last: that box takes a word, at that place
  const lastFocused = {};
  const visited = new WeakSet();
  document.addEventListener('focusin', (event) => {
    const box = event.target.closest && event.target.closest('[id$=prompt], [id$=negative]');
    if (!box || !event.target.matches('textarea')) return;
    const name = NAMES.find((one) => box.id.endsWith(one));
    lastFocused[box.id.slice(0, -name.length)] = name;
    visited.add(event.target);
  });
  const area = (prefix, name) => document.querySelector(`#${prefix}${name} textarea`);
  const write = (box, text, cursor) => {
    if (!box || box.value === text) return;
    box.value = text;
    if (cursor !== undefined) box.setSelectionRange(cursor, cursor);
    box.dispatchEvent(new Event('input', {bubbles: true}));
  };

  // The cursor's place; behind the word or tag that it stands in
  const placeIn = (box) => {
    const text = box.value;
    let at = visited.has(box) ? box.selectionEnd : text.length;
    const opened = text.lastIndexOf('<', at - 1);
    const closed = opened < 0 ? -1 : text.indexOf('>', opened);
    if (closed >= at && !/[\s,]/.test(text[opened + 1] || ' ')) return closed + 1;
    const isInside = (place) => place > 0 && place < text.length && !/[\s,，]/.test(text[place - 1]) && !/[\s,，]/.test(text[place]);
    while (isInside(at)) at += 1;
    return at;
  };
  const putIn = (box, more, between) => {
    if (!box || !more) return;
    const at = placeIn(box);
    const head = box.value.slice(0, at).replace(/[ \t]+$/, '');
    const tail = box.value.slice(at).replace(/^[ \t]+/, '');
    const before = !head || head.endsWith('\n') ? '' : /[,，]$/.test(head) ? ' ' : between;
    const after = !tail || /^[\n,，]/.test(tail) ? '' : between;
    const cursor = head.length + before.length + more.length;
    write(box, `${head}${before}${more}${after}${tail}`, cursor);
  };

  // Finding again

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const END = '(?=$|[\\s,，])';
  const tagOf = (card) => (card.kind === 'hypernetwork' ? 'hypernet' : 'lora');
  const tagPattern = (card) => {
    const type = card.kind === 'hypernetwork' ? 'hypernet' : '(?:lora|lyco)';
    const names = card.tags.map(escaped).join('|');
    const trigger = card.trigger ? `(?:[\\s,，]*${escaped(card.trigger)}${END})?` : '';
    return new RegExp(`[\\s,，]*<${type}:(?:${names})(?::[^>]*)?>${trigger}`, 'g');
  };
  // An embedding's word, alone or weighted; capitals do not matter to the tokenizer
  const wordPattern = (card) => {
    const word = escaped(card.tags[0]);
    return new RegExp(`[\\s,，]*\\(${word}(?::[^()]*)?\\)|(^|[\\s,，]+|[(\\[{])${word}(?![\\p{L}\\p{N}_-])`, 'giu');
  };
  const textPattern = (text) => new RegExp(`(?:^|[\\s,，]+)${escaped(text)}${END}`, 'g');
  const patternOf = (card) => (card.kind === 'embedding' ? wordPattern(card) : tagPattern(card));
  const boxesOf = (prefix, card) => {
    const names = card.kind === 'embedding' ? NAMES : ['prompt'];
    return names.map((name) => area(prefix, name)).filter(Boolean);
  };
  const takeOut = (box, pattern) => {
    const rest = box.value.replace(pattern, (found, opened) => (/^[([{]$/.test(opened) ? opened : ''));
    if (rest !== box.value) write(box, rest.replace(/^[\s,，]+/, ''));
  };

  // What a card does

  const isUsed = (prefix, card) => {
    if (!card.tags.length) return card.is_chosen;
    return boxesOf(prefix, card).some((box) => patternOf(card).test(box.value));
  };
  const remove = (prefix, card) => {
    for (const box of boxesOf(prefix, card)) takeOut(box, patternOf(card));
    const negative = area(prefix, 'negative');
    if (card.negative && negative) takeOut(negative, textPattern(card.negative));
  };
  const insert = (prefix, card, usualWeight) => {
    if (card.kind === 'embedding') {
      putIn(area(prefix, lastFocused[prefix] || 'prompt'), card.tags[0], ', ');
    } else {
      const tag = `<${tagOf(card)}:${card.tags[0]}:${card.weight || usualWeight}>`;
      putIn(area(prefix, 'prompt'), [tag, card.trigger].filter(Boolean).join(' '), ' ');
    }
    const negative = area(prefix, 'negative');
    if (card.negative && negative && !textPattern(card.negative).test(negative.value)) putIn(negative, card.negative, ', ');
  };
  const addWord = (prefix, word) => putIn(area(prefix, 'prompt'), word, ', ');

  window.danqingCards = {isUsed, remove, insert, addWord};
})();
