import { describe, expect, it } from 'vitest';
import { Station } from '../../src/run/station.ts';

/** Work that ends when it is told to. */
function work(log: string[], name: string) {
  let end!: (error?: Error) => void;
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error ? reject(error) : resolve());
  });
  let makeRoom = () => {};
  const run = async (room: () => void) => {
    log.push(`${name} begins`);
    makeRoom = room;
    await ended;
    log.push(`${name} ends`);
  };
  return { run, end: (error?: Error) => end(error), makeRoom: () => makeRoom() };
}

/** Everything that is ready to go on has gone on. */
const settle = () => new Promise((done) => setImmediate(done));

describe('a station', () => {
  it('holds one slide at a time, also when one fails', async () => {
    const log: string[] = [];
    const station = new Station();
    const [first, second] = [work(log, 'first'), work(log, 'second')];
    const turns = [station.run(first.run), station.run(second.run)];
    await settle();
    expect(log).toEqual(['first begins']);
    expect(station.isFree).toBe(false);
    first.end(new Error('torn'));
    await expect(turns[0]).rejects.toThrow('torn');
    await settle();
    expect(log).toEqual(['first begins', 'second begins']);
    second.end();
    await turns[1];
    expect(station.isFree).toBe(true);
  });

  it('lets the next one in before it is done, when it makes room', async () => {
    const log: string[] = [];
    const station = new Station();
    const [first, second, third] = [work(log, 'first'), work(log, 'second'), work(log, 'third')];
    const turns = [first, second, third].map(({ run }) => station.run(run));
    await settle();
    first.makeRoom();
    await settle();
    expect(log).toEqual(['first begins', 'second begins']);
    first.end();
    await turns[0];
    await settle();
    // The third waits for the second.
    expect(log).toEqual(['first begins', 'second begins', 'first ends']);
    second.end();
    third.end();
    await Promise.all(turns);
    expect(log.slice(3)).toEqual(['second ends', 'third begins', 'third ends']);
  });
});
