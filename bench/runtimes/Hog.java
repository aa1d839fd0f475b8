import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * Fills parts of a JVM's memory as its arguments say, prints what it got, waits for a line on stdin, ends.
 *
 * heap=MIB|all   live byte arrays; all = until OutOfMemoryError
 * garbage=MIB    arrays that are dropped at once
 * direct=MIB|all direct buffers
 * classes=N|all  copies of a class, each under a name of its own
 * idle=N         threads that wait
 * deep=N         threads that use their whole stack, then wait
 */
public final class Hog {
    static final List<Object> HELD = new ArrayList<>(1 << 16);
    static final int CHUNK = 1 << 16;
    static byte[] ballast = new byte[1 << 18]; // room for the last words when the heap is full

    public static void main(String[] args) throws Exception {
        StringBuilder said = new StringBuilder(200).append("ready");
        for (String arg : args) {
            String[] parts = arg.split("=");
            long most = parts[1].equals("all") ? Long.MAX_VALUE : Long.parseLong(parts[1]);
            long got = 0;
            try {
                switch (parts[0]) {
                    case "heap" -> got = heap(most);
                    case "garbage" -> got = garbage(most);
                    case "direct" -> got = direct(most);
                    case "classes" -> got = classes(most);
                    case "idle" -> got = threads(most, false);
                    case "deep" -> got = threads(most, true);
                    default -> throw new IllegalArgumentException(arg);
                }
                said.append(' ').append(parts[0]).append('=').append(got);
            } catch (OutOfMemoryError full) {
                ballast = null;
                said.append(' ').append(parts[0]).append("=full");
            }
        }
        System.out.println(said);
        System.out.flush();
        System.in.read();
        Runtime.getRuntime().halt(0);
    }

    static long heap(long mib) {
        List<byte[]> mine = new ArrayList<>(1 << 14);
        HELD.add(mine);
        long chunks = mib == Long.MAX_VALUE ? mib : mib << 4;
        for (long i = 0; i < chunks; i++) {
            mine.add(new byte[CHUNK - 16]);
        }
        return mib;
    }

    static volatile byte[] sink;

    static long garbage(long mib) {
        for (long i = 0; i < mib << 4; i++) {
            sink = new byte[CHUNK - 16];
        }
        return mib;
    }

    static long direct(long mib) {
        for (long i = 0; i < mib; i++) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
            for (int at = 0; at < 1 << 20; at += 4096) {
                buffer.put(at, (byte) 1);
            }
            HELD.add(buffer);
        }
        return mib;
    }

    static long classes(long count) throws Exception {
        byte[] code;
        try (InputStream in = Hog.class.getResourceAsStream("Hog$Filler.class")) {
            code = in.readAllBytes();
        }
        byte[] name = "Hog$Filler".getBytes("US-ASCII");
        Loader loader = new Loader();
        for (long i = 0; i < count; i++) {
            byte[] copy = code.clone(); // under another name of the same length
            long rest = i;
            byte[] other = name.clone();
            for (int at = 9; at > 4; at--, rest /= 26) {
                other[at] = (byte) ('a' + rest % 26);
            }
            for (int at = 0; at + name.length <= copy.length; at++) {
                if (Arrays.equals(copy, at, at + name.length, name, 0, name.length)) {
                    System.arraycopy(other, 0, copy, at, name.length);
                }
            }
            HELD.add(loader.make(copy).getDeclaredConstructor().newInstance());
        }
        return count;
    }

    static long threads(long count, boolean deep) throws Exception {
        for (long i = 0; i < count; i++) {
            CountDownLatch up = new CountDownLatch(1);
            Thread thread = new Thread(() -> {
                if (deep) {
                    try {
                        down(0);
                    } catch (StackOverflowError bottom) {
                        // its whole stack has been used
                    }
                }
                up.countDown();
                synchronized (up) {
                    try {
                        up.wait();
                    } catch (InterruptedException end) {
                        // over
                    }
                }
            });
            thread.setDaemon(true);
            thread.start();
            up.await();
        }
        return count;
    }

    static long down(long depth) {
        return depth < 0 ? 0 : down(depth + 1) + 1;
    }

    static final class Loader extends ClassLoader {
        Class<?> make(byte[] code) {
            return defineClass(null, code, 0, code.length);
        }
    }

    public static final class Filler {
        long a, b, c;
        public long one(long x) { a += x; b -= a * 3; c ^= b; return a > b ? c + 1 : c - 1; }
        public long two(long x) { for (int i = 0; i < x; i++) { a += i; if (a % 7 == 0) { b++; } } return b; }
        public String three(String s) { return s + a + ":" + b + ":" + c; }
        public double four(double d) { return Math.sqrt(d * a) + Math.pow(b, 2) - c; }
    }
}
