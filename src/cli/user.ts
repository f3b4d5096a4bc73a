/** `lamina user`: who may use a viewer that others reach. */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { type Command, Option } from 'commander';
import { ROLES, type Role, saveUser } from '../viewer/accounts.ts';
import { printLine } from './print.ts';

export function configure(command: Command): void {
  command
    .command('add <name>')
    .description('add a user, or give one a new password and role')
    .addOption(new Option('--accounts <file>', 'accounts file').env('LAMINA_ACCOUNTS').default('lamina-accounts.json'))
    .addOption(
      new Option('--role <role>', 'an admin sets up reviews and sees all verdicts').choices(ROLES).default('reader'),
    )
    .addHelpText('after', '\nThe password is asked for, or read from standard input or LAMINA_PASSWORD.')
    .action(async (name: string, { accounts, role }: { accounts: string; role: Role }) => {
      const password = process.env.LAMINA_PASSWORD ?? (await askSecret(`Password of ${name}: `));
      await saveUser(accounts, { name, role }, password);
      printLine(`${name} (${role}) is in ${accounts}.`);
    });
}

/** One line from standard input, not shown on a terminal. */
async function askSecret(question: string): Promise<string> {
  const terminal = process.stdin.isTTY === true;
  if (terminal) process.stderr.write(question);
  const silent = new Writable({ write: (_, __, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal });
  try {
    for await (const line of reader) return line;
    return '';
  } finally {
    reader.close();
    if (terminal) process.stderr.write('\n');
  }
}
