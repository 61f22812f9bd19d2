import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.ndarray.NdArrays;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TString;

/** Classifies image files with an exported model: one line for each file, with its status, class and probabilities. */
public final class Classify {

  /**
   * @param arguments the folder of a version of the exported model, then image files
   */
  public static void main(String[] arguments) throws Exception {
    int count = arguments.length - 1;
    var images = NdArrays.vectorOfObjects(new byte[count][]);
    for (int i = 0; i < count; i++) {
      images.setObject(Files.readAllBytes(Path.of(arguments[i + 1])), i);
    }
    try (var model = SavedModelBundle.load(arguments[0], "serve");
        var input = TString.tensorOfBytes(images);
        var outputs = model.function("serving_default").call(Map.of("image_bytes", input))) {
      var probabilities = (TFloat32) outputs.get("probabilities").get();
      var classes = (TString) outputs.get("class").get();
      var status = (TString) outputs.get("status").get();
      for (int i = 0; i < count; i++) {
        var line = new StringBuilder(status.getObject(i) + "\t" + classes.getObject(i));
        probabilities.get(i).scalars().forEach(value -> line.append('\t').append(value.getFloat()));
        System.out.println(line);
      }
    }
  }
}
