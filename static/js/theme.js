// A classic script in <head>: the remembered theme is set before the first paint.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden; the system's theme is right then
    }
  };
  const remember = (theme) => {
    try {
      if (theme) localStorage.setItem("theme", theme);
      else localStorage.removeItem("theme");
    } catch {
      // the choice then holds for this page only
    }
  };
  const saved = read();
  if (saved === "light" || saved === "dark") root.dataset.theme = saved;

  addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const systems = system.matches ? "dark" : "light";
      const shown = root.dataset.theme ?? systems;
      const wanted = shown === "dark" ? "light" : "dark";
      // Back at the system's theme the page follows the system again.
      if (wanted === systems) delete root.dataset.theme;
      else root.dataset.theme = wanted;
      remember(root.dataset.theme);
    });
  });
})();
