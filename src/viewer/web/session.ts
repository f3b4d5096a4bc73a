/** Signing in, when the viewer asks for it. */
import type { SessionView } from '../api.ts';
import { byId } from './element.ts';
import { getSession, signIn, signOut } from './server.ts';

/** Resolves when one is in. */
export async function openSession(): Promise<SessionView> {
  const session = await getSession();
  const out = byId('sign-out');
  out.hidden = session.mode === 'open' || session.mode === 'bundle';
  out.addEventListener('click', async () => {
    await signOut();
    location.reload();
  });
  if (session.user) return named(session);
  const dialog = byId<HTMLDialogElement>('sign-in');
  const withToken = session.mode === 'token';
  for (const part of document.querySelectorAll<HTMLElement>('[data-mode]')) {
    part.hidden = part.dataset.mode !== session.mode;
  }
  dialog.addEventListener('cancel', (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((resolve) => {
    byId('sign-in-form').addEventListener('submit', async (event) => {
      event.preventDefault();
      const text = (id: string) => byId<HTMLInputElement>(id).value;
      const given = withToken
        ? { token: text('sign-in-token') }
        : { name: text('sign-in-name'), password: text('sign-in-password') };
      try {
        const found = await signIn(given);
        dialog.close();
        resolve(named(found));
      } catch (error) {
        byId('sign-in-problem').textContent = (error as Error).message;
      }
    });
  });
}

function named(session: SessionView): SessionView {
  byId('sign-out').title = session.user?.name ? `Signed in as ${session.user.name}` : '';
  return session;
}
