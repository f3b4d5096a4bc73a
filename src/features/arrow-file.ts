/** An Arrow file being written, record batch by record batch; what was written can be read again before the end. */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import {
  AsyncByteQueue,
  type Data,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  RecordBatchStreamWriter,
  type Schema,
  Struct,
} from 'apache-arrow';
import { cannotWrite } from '../errors.ts';

/** Under the name `<path>.partial` until it is complete. Errors: UserError `cannot-write`, `disk-full`. */
export class ArrowFile {
  private readonly path: string;
  private readonly schema: Schema;
  private readonly handle: FileHandle;
  private readonly chunks = new Chunks();
  private readonly writer = new RecordBatchFileWriter();
  private open = true;
  /** The schema as a stream of Arrow begins with it: a batch behind it can be read by itself. */
  private readonly head: Uint8Array;
  /** Where each record batch ends in the file; the first number is where the first one begins. */
  private readonly ends: number[] = [];

  private constructor(path: string, schema: Schema, handle: FileHandle) {
    this.path = path;
    this.schema = schema;
    this.handle = handle;
    const head = new Chunks();
    new RecordBatchStreamWriter().reset(head, schema);
    this.head = head.take();
    this.writer.reset(this.chunks, schema);
    this.ends.push(this.chunks.pendingBytes);
  }

  static async create(path: string, schema: Schema): Promise<ArrowFile> {
    const handle = await open(partial(path), 'w+').catch((error) => {
      throw cannotWrite(path, error);
    });
    return new ArrowFile(path, schema, handle);
  }

  /** Record batches in the file. */
  get batches(): number {
    return this.ends.length - 1;
  }

  /** A record batch that was written. */
  async read(index: number): Promise<RecordBatch> {
    const [start, end] = [this.ends[index]!, this.ends[index + 1]!];
    const bytes = new Uint8Array(this.head.length + end - start);
    bytes.set(this.head);
    await this.handle.read(bytes, this.head.length, end - start, start);
    return RecordBatchReader.from(bytes).open().next().value as RecordBatch;
  }

  async write(columns: Data[]): Promise<void> {
    const type = new Struct(this.schema.fields);
    const length = columns[0]!.length;
    this.writer.write(new RecordBatch(this.schema, makeData({ type, length, nullCount: 0, children: columns })));
    const before = this.batches === 0 ? 0 : this.ends.at(-1)!;
    this.ends.push(before + (await this.flush()));
  }

  async finish(): Promise<void> {
    this.writer.close();
    await this.flush();
    this.open = false;
    try {
      await this.handle.close();
      await rename(partial(this.path), this.path);
    } catch (error) {
      await rm(partial(this.path), { force: true });
      throw cannotWrite(this.path, error);
    }
  }

  async abort(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await this.handle.close();
    await rm(partial(this.path), { force: true });
  }

  /** @returns the bytes written. */
  private async flush(): Promise<number> {
    try {
      const bytes = this.chunks.take();
      await this.handle.writeFile(bytes);
      return bytes.length;
    } catch (error) {
      await this.abort();
      throw cannotWrite(this.path, error);
    }
  }
}

/** Arrow's queue hands its bytes on at its own pace; this one gives them when asked, so that a writer waits for the disk. */
class Chunks extends AsyncByteQueue {
  private pending: Uint8Array[] = [];

  override write(chunk: Uint8Array): void {
    this.pending.push(chunk);
  }

  get pendingBytes(): number {
    return this.pending.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  take(): Uint8Array {
    const bytes = Buffer.concat(this.pending);
    this.pending = [];
    return bytes;
  }
}

function partial(path: string): string {
  return `${path}.partial`;
}
