/** Keys of the whole page. They rest while one types, works a control that has the same keys, or reads a dialog. */

export function onKeys(actions: Readonly<Record<string, () => void>>): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isBusy(event)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = Object.hasOwn(actions, key) ? actions[key] : undefined;
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function isBusy({ target, key }: KeyboardEvent): boolean {
  if (document.querySelector('dialog[open]')) return true;
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  if (key === 'Enter' && target instanceof Element && target.closest('button, summary, a')) return true;
  if (!(target instanceof HTMLInputElement)) return false;
  const typing = !['checkbox', 'radio', 'range', 'button'].includes(target.type);
  return typing || key.startsWith('Arrow') || key === 'Home' || key === 'End';
}
