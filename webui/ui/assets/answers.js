/* The answers of handlers are heard until the last one has come, before any other script of the page
   (first_script.py).

   Gradio's server ends the stream of answers once nothing is asked, and its page then closes it. What
   was asked just before would be answered into a stream that nobody reads: a dead button. So an end
   that comes while something is asked is kept from Gradio's page, and the stream goes on as another. */
(() => {
  'use strict';
  const ask = window.fetch;
  const MOST_KEPT = 200; // answers remembered that came before it was known whose they are
  const BETWEEN = '\n\n';
  const ENDS = /^data: ?\{"msg": ?"(close_stream|process_completed)"/;
  let asking = 0; // requests on their way
  const awaited = new Set();
  const answered = new Set();
  const pathOf = (input) => {
    try { return new URL(input.url || input, window.location.href).pathname; } catch { return ''; }
  };

  const asked = async (args) => {
    asking += 1;
    try {
      const answer = await ask(...args);
      const {event_id: event} = answer.ok ? await answer.clone().json().catch(() => ({})) : {};
      if (event && !answered.delete(event)) awaited.add(event);
      return answer;
    } finally { asking -= 1; }
  };

  const note = (event) => {
    if (!awaited.delete(event)) answered.add(event);
    if (answered.size > MOST_KEPT) answered.delete(answered.values().next().value);
  };

  /* Hand on one stream's messages; true where it ended too early. It is read to its end: the server
     takes a stream that is left for a page that is gone, and drops what that has asked. */
  const handOn = async (body, out) => {
    const [reader, decoder, encoder] = [body.getReader(), new TextDecoder(), new TextEncoder()];
    let [rest, isEarly] = ['', false];
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return isEarly;
      const messages = (rest + decoder.decode(value, {stream: true})).split(BETWEEN);
      rest = messages.pop();
      for (const message of messages) {
        const [, end] = message.match(ENDS) || [];
        if (end === 'process_completed') note(JSON.parse(message.replace(/^data:/, '')).event_id);
        isEarly = end === 'close_stream' && (asking > 0 || awaited.size > 0);
        if (!isEarly) out.enqueue(encoder.encode(message + BETWEEN));
      }
    }
  };

  const heard = async ([address, options]) => {
    const ever = () => ask(new Request(address, {...options, signal: null})); // see handOn
    const answer = await ever();
    if (!answer.ok || !answer.body) return answer;
    const start = async (out) => {
      try {
        let {body} = answer;
        while (await handOn(body, out)) {
          const next = await ever();
          if (!next.ok) throw new Error(String(next.status));
          ({body} = next);
        }
        out.close();
      } catch (problem) { out.error(problem); }
    };
    return new Response(new ReadableStream({start}), {status: answer.status, headers: answer.headers});
  };

  window.fetch = (...args) => {
    const path = pathOf(args[0]);
    if (path.endsWith('/queue/join')) return asked(args);
    return path.endsWith('/queue/data') ? heard(args) : ask(...args);
  };
})();
