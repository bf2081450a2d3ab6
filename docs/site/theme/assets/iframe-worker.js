/* The site's search is a Worker. Browsers start none from a file:// address: there its script runs in a frame. */
(function () {
  "use strict";
  // The search looks for words that begin as those typed, so that "a" would match half of the site.
  const IGNORED = "a an and are as at be by can do does for from how i in is it my of on or that the there this to was what when which with";
  const ignored = new Set(IGNORED.split(" "));
  const QUERY = 2;

  function withoutIgnored(message) {
    if (!message || message.type !== QUERY || typeof message.data !== "string") return message;
    const words = message.data.split(/\s+/).filter((word) => !ignored.has(word.toLowerCase()));
    return words.join("") ? { ...message, data: words.join(" ") } : message;
  }

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.url = String(url);
      this.onmessage = null;
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      // What the script posts, with one argument as in a worker.
      inner.postMessage = (data) => this.answer(data);
      inner.importScripts = (...urls) =>
        urls.reduce((before, each) => before.then(() => this.load(each)), Promise.resolve());
      this.load(this.url).then(() => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.deliver(data));
      });
    }
    load(url) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = url;
        script.onload = () => resolve();
        script.onerror = () => reject(new Error("cannot load " + url));
        this.frame.contentDocument.body.appendChild(script);
      });
    }
    answer(data) {
      const event = new MessageEvent("message", { data: data });
      window.setTimeout(() => {
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      });
    }
    deliver(data) {
      const inner = this.frame.contentWindow;
      inner.dispatchEvent(new inner.MessageEvent("message", { data: data }));
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.deliver(data);
    }
    terminate() {
      this.frame.remove();
    }
  }

  const Base = window.location.protocol === "file:" ? FrameWorker : window.Worker;
  window.Worker = class extends Base {
    postMessage(message, ...others) {
      super.postMessage(withoutIgnored(message), ...others);
    }
  };
})();
